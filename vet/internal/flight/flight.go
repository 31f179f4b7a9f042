// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package flight finds the calls of singleflight in a package.
//
// Its analyzer reports nothing. The others require it, and read from its
// [Calls] what each call is made of: the group, the key, and the function
// that the flight runs.
package flight

import (
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

// The import paths that the analyzers know.
const (
	XSyncPath  = "golang.org/x/sync/singleflight"
	OursPath   = "example.com/singleflight"
	DropinPath = "example.com/singleflight/dropin"
)

// A Library says whose Group it is.
type Library int

const (
	None  Library = iota
	Ours          // example.com/singleflight; dropin's Group is an alias of it
	XSync         // golang.org/x/sync/singleflight
	Copy          // a copy of x/sync's package under another path: reported, never edited
)

// A Call is a call of Do, DoChan, DoContext or Fill.
type Call struct {
	*ast.CallExpr
	Cursor  inspector.Cursor
	Library Library
	Method  string
	Group   ast.Expr // what the method is called on
	Key     ast.Expr
	Fn      ast.Expr // as it is written
	Ctx     ast.Expr // of DoContext and Fill
	Cache   ast.Expr // of Fill

	// Lit is the function literal that the flight runs: Fn itself, or what
	// the local variable Fn was declared as. It is nil if Fn is neither.
	Lit *ast.FuncLit

	// Body is that of Lit, or of the function or method of this package
	// that Fn names. It is nil if Fn is none of these.
	Body *ast.BlockStmt
}

// Outermost is the function declaration around the call, or the outermost
// function literal if no declaration is around it.
// It is nil for a call in no function.
func (c *Call) Outermost() ast.Node {
	var outermost ast.Node
	for f := range c.Cursor.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		outermost = f.Node()
	}
	return outermost
}

// Innermost is the function that makes the call.
// It is nil for a call in no function.
func (c *Call) Innermost() ast.Node {
	for f := range c.Cursor.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		return f.Node()
	}
	return nil
}

// Received are the variables that are set to the result which the channel of
// a DoChan delivers. The second result reports whether there can be no others:
// neither the channel nor what it delivers is passed on in another way.
func (c *Call) Received(info *types.Info) ([]*types.Var, bool) {
	var vars []*types.Var
	receive := func(cur inspector.Cursor) bool {
		switch p := cur.Parent().Node().(type) {
		case *ast.ExprStmt:
			return true // it only waits
		case *ast.AssignStmt:
			id, ok := p.Lhs[0].(*ast.Ident)
			if !ok {
				return false
			}
			v, ok := info.ObjectOf(id).(*types.Var)
			if ok {
				vars = append(vars, v)
			}
			return id.Name == "_" || ok && info.Defs[id] == v
		}
		return false
	}
	if c.Cursor.ParentEdgeKind() == edge.UnaryExpr_X {
		complete := receive(c.Cursor.Parent()) // <-g.DoChan(…)
		return vars, complete
	}
	s, ok := c.Cursor.Parent().Node().(*ast.AssignStmt)
	if !ok || len(s.Lhs) != 1 {
		return nil, false
	}
	id, ok := s.Lhs[0].(*ast.Ident)
	if !ok {
		return nil, false
	}
	complete := info.Defs[id] != nil
	ch := info.ObjectOf(id)
	for cur := range c.Cursor.Inspector().Root().Preorder((*ast.Ident)(nil)) {
		if info.Uses[cur.Node().(*ast.Ident)] != ch || ch == nil {
			continue
		}
		switch kind := cur.ParentEdgeKind(); {
		case kind == edge.UnaryExpr_X && cur.Parent().Node().(*ast.UnaryExpr).Op == token.ARROW:
			complete = receive(cur.Parent()) && complete
		case kind != edge.AssignStmt_Lhs:
			complete = false
		}
	}
	return vars, complete
}

// Calls is what the analyzer found in a package.
type Calls struct {
	Calls []*Call

	info  *types.Info
	decls map[*types.Func]*ast.FuncDecl
}

// Decl is the declaration of fn, if it stands in this package and has a body.
func (c *Calls) Decl(fn *types.Func) *ast.FuncDecl {
	if fn == nil {
		return nil
	}
	return c.decls[fn.Origin()]
}

// Callee is the declaration of the function or method of this package that
// call calls, or nil.
func (c *Calls) Callee(call *ast.CallExpr) *ast.FuncDecl {
	fn, _ := typeutil.Callee(c.info, call).(*types.Func)
	return c.Decl(fn)
}

// Analyzer finds the calls of singleflight. Its result is a *[Calls].
var Analyzer = &analysis.Analyzer{
	Name:             "singleflightcalls",
	Doc:              "find the calls of singleflight, for other analyzers",
	Run:              run,
	Requires:         []*analysis.Analyzer{inspect.Analyzer},
	ResultType:       reflect.TypeFor[*Calls](),
	RunDespiteErrors: true,
}

// Of returns the result of Analyzer, which the analyzer of pass requires.
func Of(pass *analysis.Pass) *Calls {
	return pass.ResultOf[Analyzer].(*Calls)
}

func run(pass *analysis.Pass) (any, error) {
	root := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root()
	calls := &Calls{info: pass.TypesInfo}
	for cur := range root.Preorder((*ast.CallExpr)(nil)) {
		if c := find(pass.TypesInfo, cur); c != nil {
			calls.Calls = append(calls.Calls, c)
		}
	}
	if len(calls.Calls) == 0 {
		return calls, nil
	}
	calls.decls = make(map[*types.Func]*ast.FuncDecl)
	for cur := range root.Preorder((*ast.FuncDecl)(nil)) {
		decl := cur.Node().(*ast.FuncDecl)
		if fn, ok := pass.TypesInfo.Defs[decl.Name].(*types.Func); ok && decl.Body != nil {
			calls.decls[fn] = decl
		}
	}
	for _, c := range calls.Calls {
		c.Lit, c.Body = calls.resolve(c)
	}
	return calls, nil
}

// find returns the call at cur if it is one of a Group's method.
func find(info *types.Info, cur inspector.Cursor) *Call {
	call := cur.Node().(*ast.CallExpr)
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	args := map[string]int{"Do": 2, "DoChan": 2, "DoContext": 3, "Fill": 4}[sel.Sel.Name]
	if args == 0 || len(call.Args) != args {
		return nil
	}
	fn, ok := typeutil.Callee(info, call).(*types.Func)
	if !ok {
		return nil
	}
	recv := fn.Signature().Recv()
	if recv == nil {
		return nil
	}
	c := &Call{
		CallExpr: call,
		Cursor:   cur,
		Library:  LibraryOf(recv.Type()),
		Method:   sel.Sel.Name,
		Group:    sel.X,
		Key:      call.Args[0],
		Fn:       ast.Unparen(call.Args[args-1]),
	}
	switch {
	case c.Library == None:
		return nil
	case args == 2: // Do, DoChan
	case c.Library != Ours:
		return nil // x/sync has only Do and DoChan
	default:
		c.Ctx = call.Args[0]
		c.Key = call.Args[args-2]
		if args == 4 {
			c.Cache = call.Args[1]
		}
	}
	return c
}

// LibraryOf says whose Group t is, or points to. It is None if t is no Group.
func LibraryOf(t types.Type) Library {
	named := Named(t)
	if named == nil || named.Obj().Pkg() == nil {
		return None
	}
	name := named.Obj().Name()
	if name != "Group" && name != "ShardedGroup" {
		return None
	}
	switch path := PathOf(named.Obj().Pkg()); {
	case path == OursPath:
		return Ours
	case name != "Group":
		return None
	case path == XSyncPath:
		return XSync
	case named.Obj().Pkg().Name() == "singleflight":
		return Copy
	}
	return None
}

// Named is the named type that t is, or points to, without its type
// arguments; or nil.
func Named(t types.Type) *types.Named {
	if t == nil {
		return nil
	}
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	if named, ok := t.(*types.Named); ok {
		return named.Origin()
	}
	return nil
}

// PathOf is the path under which source code imports pkg, which for a
// package in a GOPATH's vendor folder is not the path of the package.
func PathOf(pkg *types.Package) string {
	path := pkg.Path()
	if i := strings.LastIndex(path, "/vendor/"); i >= 0 {
		path = path[i+len("/vendor/"):]
	}
	return strings.TrimPrefix(path, "vendor/")
}

// resolve finds the function that a flight of c runs.
func (c *Calls) resolve(call *Call) (*ast.FuncLit, *ast.BlockStmt) {
	switch fn := call.Fn.(type) {
	case *ast.FuncLit:
		return fn, fn.Body
	case *ast.Ident:
		switch obj := c.info.Uses[fn].(type) {
		case *types.Func:
			if decl := c.Decl(obj); decl != nil {
				return nil, decl.Body
			}
		case *types.Var:
			if lit := c.declaredAs(obj, call.Outermost()); lit != nil {
				return lit, lit.Body
			}
		}
	case *ast.SelectorExpr:
		if obj, ok := c.info.Uses[fn.Sel].(*types.Func); ok {
			if decl := c.Decl(obj); decl != nil {
				return nil, decl.Body
			}
		}
	}
	return nil, nil
}

// declaredAs is the function literal that v is set to in root, if v is set
// once.
func (c *Calls) declaredAs(v *types.Var, root ast.Node) *ast.FuncLit {
	if root == nil {
		return nil
	}
	var lit *ast.FuncLit
	set := 0
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, lhs := range n.Lhs {
				id, ok := lhs.(*ast.Ident)
				if !ok || c.info.ObjectOf(id) != v {
					continue
				}
				set++
				if len(n.Rhs) == len(n.Lhs) {
					lit, _ = ast.Unparen(n.Rhs[i]).(*ast.FuncLit)
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if c.info.Defs[id] == v && i < len(n.Values) {
					set++
					lit, _ = ast.Unparen(n.Values[i]).(*ast.FuncLit)
				}
			}
		}
		return true
	})
	if set != 1 {
		return nil
	}
	return lit
}

// Returns are the return statements of a function with this body, without
// those of the function literals in it.
func Returns(body *ast.BlockStmt) []*ast.ReturnStmt {
	var list []*ast.ReturnStmt
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			list = append(list, n)
		}
		return true
	})
	return list
}

// Returned is the type of the value that r, which returns a value and an
// error, returns; or nil.
func Returned(info *types.Info, r *ast.ReturnStmt) types.Type {
	switch len(r.Results) {
	case 2:
		if t := info.TypeOf(r.Results[0]); t != nil {
			return types.Default(t)
		}
	case 1:
		if tuple, ok := info.TypeOf(r.Results[0]).(*types.Tuple); ok && tuple.Len() == 2 {
			return tuple.At(0).Type()
		}
	}
	return nil
}
