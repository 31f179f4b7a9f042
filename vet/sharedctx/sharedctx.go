// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package sharedctx defines an Analyzer that finds flights which depend on
// the context of the one caller that started them.
//
// # Analyzer sharedctx
//
// sharedctx: find flights that end with the context of their first caller
//
// All callers of a flight share its result, but the function of the caller
// that came first is the one that runs. If it uses that caller's context,
// then one client that hangs up fails all the others:
//
//	v, err, _ := g.Do(id, func() (any, error) {
//		return db.Load(ctx, id) // ctx is the first caller's
//	})
//
// The analyzer reports the function of a Do or DoChan that uses a context
// which traces back, through assignments and calls such as
// context.WithTimeout, to a parameter of the functions around it, or which it
// gets from such a parameter by calling its Context method. It also reports
// the function of a DoChan that uses a context which the caller cancels in a
// defer statement, since that function can outlive its caller.
//
// In the function of a DoContext or Fill it reports a use of the context
// outside instead of the one that the function is given.
//
// Not reported are contexts that cannot be canceled by the caller, such as
// those from context.Background and context.WithoutCancel, uses that only
// read a value or write a log, and contexts outside of a handler: a function
// literal that has a parameter with a context of its own. A context in a field is reported if the flag
// -fields is set: it often belongs to the program rather than to a caller.
//
// # The fix
//
// The fix makes Do a DoContext, whose function is given a context under the
// name that it uses already, so that the rest of it stays as it is. Where the
// group is golang.org/x/sync's, the fix changes the import to
// example.com/singleflight/dropin in all files of the package, or in none.
//
// DoContext cancels the work when its last caller has left. Work that is
// worth finishing without callers, such as filling a cache, wants Fill
// instead, which the message names where the function stores into a cache.
//
// DoContext runs the function on another goroutine, which can outlive the
// caller, and cancels its context when it has returned. There is therefore no
// fix where the function uses what belongs to one request (an *http.Request,
// a transaction, a buffer, something that the caller releases in a defer
// statement), where it assigns to a variable of the caller, where the caller
// holds a lock, where the value keeps the context, where its type is asserted
// before the error is checked, or where the change does not reach all uses of
// the group. The report then says why.
package sharedctx

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"

	"example.com/singleflight/vet/internal/cachelike"
	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
)

// Analyzer finds flights that depend on the context of one caller.
var Analyzer = &analysis.Analyzer{
	Name:             "sharedctx",
	Doc:              "find flights that end with the context of their first caller\n\nThe function of a Do or DoChan that uses its caller's context fails all callers when that one is canceled. The fix makes it a DoContext.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/sharedctx",
	Run:              run,
	Requires:         []*analysis.Analyzer{flight.Analyzer},
	RunDespiteErrors: true,
}

var fields bool

func init() {
	Analyzer.Flags.BoolVar(&fields, "fields", false, "report contexts that are stored in a field, too")
}

func run(pass *analysis.Pass) (any, error) {
	calls := flight.Of(pass)
	if len(calls.Calls) == 0 || edit.AnalyzedAgain(pass) {
		return nil, nil
	}
	for _, call := range calls.Calls {
		if call.Lit == nil || call.Outermost() == nil {
			continue // it can use no context but its own
		}
		c := &checker{
			Pass:   pass,
			call:   call,
			root:   call.Outermost(),
			finder: &cachelike.Finder{Info: pass.TypesInfo, Calls: calls},
		}
		c.params, _ = origin.Params(pass.TypesInfo, c.called(), call.Pos())
		_, c.receivers = origin.Params(pass.TypesInfo, c.root, call.Pos())
		c.check()
	}
	return nil, nil
}

// A checker checks one call.
type checker struct {
	*analysis.Pass
	call   *flight.Call
	root   ast.Node // the outermost function around the call
	finder *cachelike.Finder

	params    map[*types.Var]bool // of the functions that are called for the flight; see called
	receivers map[*types.Var]bool // of the functions around the call
}

// called is the innermost function literal around the call that is given a
// context of its own, or a request: a handler, which is called by others than
// the function that it stands in, such as main. Without one it is c.root.
func (c *checker) called() ast.Node {
	for cur := range c.call.Cursor.Enclosing((*ast.FuncLit)(nil)) {
		lit := cur.Node().(*ast.FuncLit)
		for _, f := range lit.Type.Params.List {
			if t := c.TypesInfo.TypeOf(f.Type); isContext(t) || implementsContext(t) || hasContext(t) {
				return lit
			}
		}
	}
	return c.root
}

// A use is a place in the function of a flight where a context is used that
// the function took from outside.
type use struct {
	expr ast.Expr   // the variable, or the call of a Context method
	v    *types.Var // the variable, or that on which Context is called
	own  owner
}

// An owner says who can cancel a context.
type owner int

const (
	nobody   owner = iota // or nobody known
	field                 // some other code has set it
	caller                // the caller of the function around the flight
	deferred              // the function around the flight, when it returns
)

func (c *checker) check() {
	uses := c.uses()
	if len(uses) == 0 {
		return
	}
	first := uses[0]
	d := analysis.Diagnostic{Pos: first.expr.Pos(), End: first.expr.End()}
	name := types.ExprString(first.expr)
	switch {
	case c.call.Ctx != nil:
		d.Message = fmt.Sprintf("%s is the context of the caller that starts the flight: fn must use its own parameter, which is not canceled while callers wait", name)
		c.Report(c.withFix(d, uses, c.useParameter))
		return
	case first.own == deferred:
		d.Message = fmt.Sprintf("%s is canceled when the function that calls DoChan returns, and that fails every other caller of the flight", name)
	default:
		d.Message = fmt.Sprintf("%s belongs to the caller that starts the flight: when it is canceled, every other caller fails", name)
	}
	if c.finder.StoresIn(c.call.Body, c.root) {
		d.Message += "; use Fill, which finishes the load for the cache, or DoContext, which cancels it when no caller is left"
	} else {
		d.Message += "; use DoContext, which cancels fn only when no caller is left"
	}
	c.Report(c.withFix(d, uses, c.doContext))
}

// withFix adds the fix to d, or the reason why there is none.
func (c *checker) withFix(d analysis.Diagnostic, uses []use, fix func([]use) (analysis.SuggestedFix, string)) analysis.Diagnostic {
	if len(c.TypeErrors) > 0 {
		d.Message += " (no fix: the package has errors)"
		return d
	}
	if file := edit.FileOf(c.Pass, d.Pos); file == nil || ast.IsGenerated(file) {
		d.Message += " (no fix: the file is generated)"
		return d
	}
	f, reason := fix(uses)
	if reason != "" {
		d.Message += " (no fix: " + reason + ")"
	} else {
		d.SuggestedFixes = []analysis.SuggestedFix{f}
	}
	return d
}

// uses are the uses of a caller's context in the function of the flight.
func (c *checker) uses() []use {
	var list []use
	lit, ok := c.call.Cursor.Inspector().Root().FindNode(c.call.Lit)
	if !ok {
		return nil
	}
	followed := make(map[*types.Var]bool)
	for cur := range lit.Preorder((*ast.Ident)(nil), (*ast.CallExpr)(nil)) {
		u, ok := c.taken(cur)
		if !ok {
			continue
		}
		switch u.own = c.owner(u); {
		case u.own == nobody, u.own == field && !fields:
			continue
		}
		if c.matters(cur, lit, followed) {
			list = append(list, u)
		}
	}
	return list
}

// taken returns the use at cur of a context from outside the function, if it
// is one.
func (c *checker) taken(cur inspector.Cursor) (use, bool) {
	switch n := cur.Node().(type) {
	case *ast.Ident:
		v, ok := c.TypesInfo.Uses[n].(*types.Var)
		if !ok {
			return use{}, false
		}
		if v.IsField() {
			// s.ctx: the whole selector is the context.
			sel, ok := cur.Parent().Node().(*ast.SelectorExpr)
			if !ok || sel.Sel != n || !isContext(v.Type()) || !origin.Captured(origin.Root(c.TypesInfo, sel), c.call.Lit) {
				return use{}, false
			}
			return use{expr: sel, v: v}, true
		}
		if !origin.Captured(v, c.call.Lit) {
			return use{}, false
		}
		if isContext(v.Type()) || implementsContext(v.Type()) && passedAsContext(c.TypesInfo, cur) {
			return use{expr: n, v: v}, true
		}
	case *ast.CallExpr:
		// r.Context()
		sel, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Context" || len(n.Args) != 0 || !isContext(c.TypesInfo.TypeOf(n)) {
			return use{}, false
		}
		if v := origin.Root(c.TypesInfo, sel.X); origin.Captured(v, c.call.Lit) {
			return use{expr: n, v: v}, true
		}
	}
	return use{}, false
}

// owner says who can cancel the context of u.
func (c *checker) owner(u use) owner {
	if _, ok := u.expr.(*ast.SelectorExpr); ok {
		return field
	}
	if _, ok := u.expr.(*ast.CallExpr); ok {
		if c.fromParam(u.v, c.call.Pos(), 0) {
			return caller
		}
		return nobody
	}
	own := c.ownerOf(u.v, c.call.Pos(), 0)
	if own != caller && c.call.Method == "DoChan" && c.canceledOnReturn(u.v) {
		return deferred
	}
	return own
}

// ownerOf says who can cancel the context that v is at pos.
func (c *checker) ownerOf(v *types.Var, pos token.Pos, depth int) owner {
	if depth > 20 {
		return nobody
	}
	assignments, initial := origin.Reaching(c.TypesInfo, c.root, v, pos)
	own := nobody
	if initial && c.params[v] {
		own = caller
	}
	for _, a := range assignments {
		if a.Value != nil {
			own = max(own, c.ownerOfValue(a.Value, a.Stmt.Pos(), depth+1))
		}
	}
	return own
}

// ownerOfValue says who can cancel the context that e is, or is made of.
func (c *checker) ownerOfValue(e ast.Expr, pos token.Pos, depth int) owner {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		if v, ok := c.TypesInfo.Uses[e].(*types.Var); ok {
			return c.ownerOf(v, pos, depth)
		}
	case *ast.SelectorExpr:
		if v, ok := c.TypesInfo.Uses[e.Sel].(*types.Var); ok && v.IsField() && isContext(v.Type()) {
			return field
		}
	case *ast.UnaryExpr:
		return c.ownerOfValue(e.X, pos, depth)
	case *ast.CompositeLit:
		if inner := contextIn(c.TypesInfo, e); inner != nil {
			return c.ownerOfValue(inner, pos, depth)
		}
	case *ast.CallExpr:
		if detaches(e) || c.detachesInBody(e, depth) {
			return nobody
		}
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" && len(e.Args) == 0 {
			if c.fromParam(origin.Root(c.TypesInfo, sel.X), pos, depth) {
				return caller
			}
			return nobody
		}
		own := nobody
		for _, arg := range e.Args {
			if t := c.TypesInfo.TypeOf(arg); isContext(t) || implementsContext(t) {
				own = max(own, c.ownerOfValue(arg, pos, depth))
			}
		}
		return own
	}
	return nobody
}

// detachesInBody reports whether call calls a function of this package that
// returns no context made from those that it is given.
func (c *checker) detachesInBody(call *ast.CallExpr, depth int) bool {
	decl := c.finder.Calls.Callee(call)
	if decl == nil || depth > 20 {
		return false
	}
	in := &checker{Pass: c.Pass, call: c.call, root: decl, finder: c.finder}
	in.params, in.receivers = origin.Params(c.TypesInfo, decl, decl.Body.Pos())
	returns := flight.Returns(decl.Body)
	for _, r := range returns {
		if len(r.Results) == 0 || in.ownerOfValue(r.Results[0], r.Pos(), depth+1) != nobody {
			return false
		}
	}
	return len(returns) > 0
}

// fromParam reports whether v is a parameter, or is made from one.
func (c *checker) fromParam(v *types.Var, pos token.Pos, depth int) bool {
	if v == nil || depth > 20 {
		return false
	}
	if c.params[v] {
		return true
	}
	assignments, _ := origin.Reaching(c.TypesInfo, c.root, v, pos)
	for _, a := range assignments {
		if a.Value != nil && c.fromParam(origin.Root(c.TypesInfo, a.Value), a.Stmt.Pos(), depth+1) {
			return true
		}
	}
	return false
}

// canceledOnReturn reports whether the function around the flight cancels
// the context v in a defer statement, without certainly having waited for the
// flight before.
func (c *checker) canceledOnReturn(v *types.Var) bool {
	if c.call.Cursor.ParentEdgeKind() == edge.UnaryExpr_X {
		return false // <-g.DoChan(…)
	}
	cancels := make(map[*types.Var]bool)
	for _, a := range origin.Assignments(c.TypesInfo, c.root, v) {
		if s, ok := a.Stmt.(*ast.AssignStmt); ok && len(s.Lhs) == 2 && len(s.Rhs) == 1 {
			if id, ok := s.Lhs[1].(*ast.Ident); ok {
				if cancel, ok := c.TypesInfo.ObjectOf(id).(*types.Var); ok {
					cancels[cancel] = true
				}
			}
		}
	}
	found := false
	ast.Inspect(c.root, func(n ast.Node) bool {
		if n == c.call.Lit {
			return false
		}
		if d, ok := n.(*ast.DeferStmt); ok && cachelike.Depends(c.TypesInfo, d.Call.Fun, cancels) {
			found = true
		}
		return true
	})
	return found
}

// matters reports whether what happens to the context at cur can fail when
// it is canceled. A context that is made from it is followed.
func (c *checker) matters(cur, lit inspector.Cursor, followed map[*types.Var]bool) bool {
	for {
		kind := cur.ParentEdgeKind()
		if kind != edge.ParenExpr_X && kind != edge.SelectorExpr_Sel { // (ctx), s.ctx
			break
		}
		cur = cur.Parent()
	}
	parent := cur.Parent()
	switch cur.ParentEdgeKind() {
	case edge.SelectorExpr_X:
		sel := parent.Node().(*ast.SelectorExpr)
		return sel.Sel.Name != "Value"
	case edge.AssignStmt_Lhs:
		return false // it is the variable that is set
	case edge.CallExpr_Args:
		call := parent.Node().(*ast.CallExpr)
		if detaches(call) || c.onlyReads(call) || returnsContext(c.TypesInfo.TypeOf(call)) && c.detachesInBody(call, 0) {
			return false
		}
		if !returnsContext(c.TypesInfo.TypeOf(call)) {
			return !c.readsInBody(call, cur.ParentEdgeIndex(), 0)
		}
		return c.matters(parent, lit, followed)
	case edge.CompositeLit_Elts, edge.KeyValueExpr_Value:
		if cur.ParentEdgeKind() == edge.KeyValueExpr_Value {
			parent = parent.Parent()
		}
		lit, ok := parent.Node().(*ast.CompositeLit)
		if !ok || !implementsContext(c.TypesInfo.TypeOf(lit)) {
			return true
		}
		inner := contextIn(c.TypesInfo, lit)
		return inner != nil && inner.Pos() <= cur.Node().Pos() && cur.Node().End() <= inner.End()
	case edge.AssignStmt_Rhs:
		s := parent.Node().(*ast.AssignStmt)
		i := cur.ParentEdgeIndex()
		if len(s.Rhs) == 1 {
			i = 0
		}
		if i >= len(s.Lhs) {
			return true // it does not compile
		}
		return c.followed(s.Lhs[i], lit, followed)
	case edge.ValueSpec_Values:
		s := parent.Node().(*ast.ValueSpec)
		if i := cur.ParentEdgeIndex(); i < len(s.Names) {
			return c.followed(s.Names[i], lit, followed)
		}
	}
	return true
}

// followed reports whether a use of the context that lhs was set to matters.
func (c *checker) followed(lhs ast.Expr, lit inspector.Cursor, followed map[*types.Var]bool) bool {
	id, ok := lhs.(*ast.Ident)
	if !ok {
		return true
	}
	v, ok := c.TypesInfo.ObjectOf(id).(*types.Var)
	if !ok || followed[v] {
		return false // blank, or it is followed already
	}
	if origin.Captured(v, c.call.Lit) {
		return false // its uses are looked at by themselves
	}
	followed[v] = true
	for cur := range lit.Preorder((*ast.Ident)(nil)) {
		if c.TypesInfo.Uses[cur.Node().(*ast.Ident)] == v && c.matters(cur, lit, followed) {
			return true
		}
	}
	return false
}

// onlyReads reports whether call, which is given a context, takes values
// from it, or writes a log or a measurement, and so cannot fail with it.
func (c *checker) onlyReads(call *ast.CallExpr) bool {
	fn, ok := typeutil.Callee(c.TypesInfo, call).(*types.Func)
	if !ok {
		return false
	}
	return onlyReads(fn, receiverName(call))
}

// readsInBody reports whether call calls a function of this package that only
// reads from the context which is its argument i.
func (c *checker) readsInBody(call *ast.CallExpr, i, depth int) bool {
	decl := c.finder.Calls.Callee(call)
	if decl == nil || depth > 3 {
		return false
	}
	fn, ok := c.TypesInfo.Defs[decl.Name].(*types.Func)
	if !ok || i >= fn.Signature().Params().Len() {
		return false
	}
	param := fn.Signature().Params().At(i)
	body, ok := c.call.Cursor.Inspector().Root().FindNode(decl.Body)
	if !ok {
		return false
	}
	reads := false
	for cur := range body.Preorder((*ast.Ident)(nil)) {
		if c.TypesInfo.Uses[cur.Node().(*ast.Ident)] != param {
			continue
		}
		switch parent := cur.Parent().Node().(type) {
		case *ast.SelectorExpr:
			reads = parent.Sel.Name == "Value"
		case *ast.CallExpr:
			reads = cur.ParentEdgeKind() == edge.CallExpr_Args &&
				(c.onlyReads(parent) || c.readsInBody(parent, cur.ParentEdgeIndex(), depth+1))
		default:
			reads = false
		}
		if !reads {
			return false
		}
	}
	return reads
}

// passedAsContext reports whether the variable at cur is an argument where
// a context.Context is wanted.
func passedAsContext(info *types.Info, cur inspector.Cursor) bool {
	if cur.ParentEdgeKind() != edge.CallExpr_Args {
		return false
	}
	sig, ok := info.TypeOf(cur.Parent().Node().(*ast.CallExpr).Fun).(*types.Signature)
	i := cur.ParentEdgeIndex()
	return ok && i < sig.Params().Len() && isContext(sig.Params().At(i).Type())
}
