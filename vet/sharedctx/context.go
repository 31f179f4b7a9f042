// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package sharedctx

import (
	"go/ast"
	"go/types"
	"strings"
)

// isContext reports whether t is context.Context.
func isContext(t types.Type) bool {
	if t == nil {
		return false
	}
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Name() == "Context" && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "context"
}

// implementsContext reports whether t is another type with the methods of
// a context, such as *gin.Context.
func implementsContext(t types.Type) bool {
	if t == nil || isContext(t) {
		return false
	}
	for _, name := range []string{"Deadline", "Done", "Err", "Value"} {
		obj, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
		if _, ok := obj.(*types.Func); !ok {
			return false
		}
	}
	return true
}

// hasContext reports whether t has a method Context that returns a context,
// as a request, a stream, a command and a test have.
func hasContext(t types.Type) bool {
	if t == nil {
		return false
	}
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, "Context")
	fn, ok := obj.(*types.Func)
	return ok && returnsContext(fn.Signature().Results())
}

// contextIn is the context in lit, a literal of a context around another
// one, that says when the new one is done; or nil if the new one says so
// by itself.
func contextIn(info *types.Info, lit *ast.CompositeLit) ast.Expr {
	t := info.TypeOf(lit)
	if t == nil {
		return nil
	}
	s, ok := t.Underlying().(*types.Struct)
	obj, index, _ := types.LookupFieldOrMethod(t, true, nil, "Done")
	if _, method := obj.(*types.Func); !ok || !method || len(index) == 1 {
		return nil
	}
	for i, elt := range lit.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == s.Field(index[0]).Name() {
				return kv.Value
			}
		} else if i == index[0] {
			return elt
		}
	}
	return nil
}

// keepsContext reports whether a value of type t has a context in it, or
// is a stream, which commonly ends with the context that it was opened with.
func keepsContext(t types.Type, depth int) bool {
	if isContext(t) {
		return true
	}
	if obj, _, _ := types.LookupFieldOrMethod(t, true, nil, "Read"); obj != nil {
		return true
	}
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok || depth > 1 {
		return false
	}
	for f := range s.Fields() {
		if _, ok := types.Unalias(f.Type()).(*types.Named); isContext(f.Type()) || ok && keepsContext(f.Type(), depth+1) {
			return true
		}
	}
	return false
}

// returnsContext reports whether t, the type of a call, is a context or
// begins with one.
func returnsContext(t types.Type) bool {
	if tuple, ok := t.(*types.Tuple); ok {
		return tuple.Len() > 0 && isContext(tuple.At(0).Type())
	}
	return isContext(t)
}

// detaches reports whether call makes a context that the one it is given
// does not cancel, as far as its name tells.
func detaches(call *ast.CallExpr) bool {
	name := strings.ToLower(funcName(call))
	for _, word := range []string{"withoutcancel", "withoutdeadline", "detach", "background", "todo", "uncancel", "nocancel", "noncancel"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// onlyReads reports whether fn, called on something of the name recv,
// reads values from a context, or writes a log, a measurement or a trace.
func onlyReads(fn *types.Func, recv string) bool {
	name := fn.Name()
	for _, suffix := range []string{"FromContext", "FromCtx", "FromIncomingContext", "FromOutgoingContext", "FromGRPCContext"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	if isLog(recv) {
		return true
	}
	if fn.Pkg() == nil {
		return false
	}
	if readsByType(fn.Signature()) {
		return true
	}
	path := fn.Pkg().Path()
	if strings.HasPrefix(path, "go.opentelemetry.io/otel/metric") || strings.HasPrefix(path, "go.opencensus.io/stats") {
		return true
	}
	elements := strings.Split(path, "/")
	for i := len(elements) - 1; i >= 0; i-- {
		if isLog(elements[i]) {
			return true
		}
	}
	if r := fn.Signature().Recv(); r != nil {
		t := r.Type()
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		if named, ok := types.Unalias(t).(*types.Named); ok {
			return strings.HasSuffix(named.Obj().Name(), "Logger")
		}
	}
	return false
}

// readsByType reports whether sig is that of a function that takes nothing
// but a context and returns text or a number, such as the identity of a
// request, and no error.
func readsByType(sig *types.Signature) bool {
	if sig.Recv() != nil || sig.Params().Len() != 1 || sig.Results().Len() == 0 {
		return false
	}
	result := func(i int, info types.BasicInfo) bool {
		b, ok := sig.Results().At(i).Type().Underlying().(*types.Basic)
		return ok && b.Info()&info != 0
	}
	switch sig.Results().Len() {
	case 1:
		return result(0, types.IsString|types.IsNumeric)
	case 2:
		return result(0, types.IsString|types.IsNumeric) && result(1, types.IsBoolean)
	}
	return false
}

// isLog reports whether name is that of a package or variable for logs or
// measurements.
func isLog(name string) bool {
	switch name = strings.ToLower(name); name {
	case "stats", "metric", "metrics", "telemetry":
		return true
	case "log", "logr", "logs", "logrus", "zap", "zerolog", "logging", "klog", "slog", "ctxlog", "ctxzap", "tflog", "hclog", "zlog", "glog", "xlog", "clog", "dlog", "tlog", "mlog", "blog":
		return true
	}
	return strings.HasSuffix(name, "logger")
}

// funcName is the name of the function that call calls, without its package
// or receiver.
func funcName(call *ast.CallExpr) string {
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		return fun.Sel.Name
	}
	return ""
}

// receiverName is the last name of what call's method is called on.
func receiverName(call *ast.CallExpr) string {
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	switch x := sel.X.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}
