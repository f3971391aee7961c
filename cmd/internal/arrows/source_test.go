package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// checkCalls reports calls of a clock or of global chance, and goroutines.
func checkCalls(t *testing.T, file string, calls []string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		if strings.Contains(string(src), c) {
			t.Errorf("%s calls %s): a core takes time and chance as arguments", file, c)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			t.Errorf("%s starts a goroutine: a core has none", file)
		}
		return true
	})
}
