package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// bannedWords must not come back in comments. Each pattern is a whole word or phrase.
var bannedWords = regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
	"somebody", "nobody", "anybody", "heeds?", "heeded", "anew", "likewise", "hush\\w*", "unhush\\w*", "told",
	"shall", "mends?", "mended", "ails?", "all the same", "by hand", "at the most", "knows no", "know no",
}, "|") + `)\b`)

// bannedMessages must not come back in texts that users see: string literals outside of
// tests. A message says what happened and what to do, as a manual would.
var bannedMessages = regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
	"somebody", "nobody", "anybody", "anew", "likewise", "mends?", "mended", "ails?", "heeds?", "all the same", "by hand", "at the most", "knows no", "know no",
	"(?:was|were|is|are|be) told", "told (?:to|of)", "tells?", "again and again", "as (?:it|they) should be", "stays? away", "no verdict", "of silence", "is silent", "lately",
	"weight alive", "kept copy", "what r[ua]ns?", "what was (?:ours|found|decided)", "nothing would change", "goes on", "go on", "there is no way", "otherwise for",
	"runs since", "none known", "good again", "well again", "(?:is|are) heard", "hears", "is (?:there )?twice", "took \\S+ off", "taken off", "not taken", "the file says", "says so",
	"is no (?:address|number|type|regular|version|digest|transition|socket)", "is none", "will be tried again", "by now",
}, "|") + `)(?:\b|$)`)

// messageExempt are folders whose literals no user reads, or that quote other programs.
var messageExempt = regexp.MustCompile(`(^|/)(integration|bench|archtest|testdata|checktest)(/|$)`)

// badPhrases returns the banned phrases in the string literals of a source.
func badPhrases(file *ast.File) (all []badWord) {
	ast.Inspect(file, func(n ast.Node) bool {
		if text, is := n.(*ast.BasicLit); is && text.Kind == token.STRING {
			for _, phrase := range bannedMessages.FindAllString(text.Value, -1) {
				all = append(all, badWord{text.Pos(), "message: " + phrase})
			}
		}
		return true
	})
	return all
}

// TestMessagesAreStandardEnglish covers all texts that users see.
func TestMessagesAreStandardEnglish(t *testing.T) {
	goFiles(t, func(folder, path string) {
		if messageExempt.MatchString(folder) || strings.HasSuffix(path, "_test.go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range badPhrases(file) {
			t.Errorf("%s: %s", fset.Position(at.pos), at.word)
		}
	})
}

// bannedNames must not come back as a word of an identifier or a file's name.
var bannedNames = []string{
	"somebody", "nobody", "heed", "heeded", "anew", "likewise", "hush", "hushed", "unhush", "told", "tell", "teller", "wish", "wishes",
	"bend", "bends", "bent", "mend", "mended", "stragglers", "foresee", "foreseen", "acquaintance", "complain", "spoil", "speech",
	"electorate", "farewell", "hearing", "crowd", "lend", "repay", "aloft", "seldom",
	"along", "judge", "judged", "crowded",
}

// answersFor finds a doc comment that says "answers" where Go says "returns".
var answersFor = regexp.MustCompile(`^(\w+ |[^.]*, and )(answers|says whether|tells)\b`)

// TestWordsThatMustNotComeBack covers the sources of all packages with their tests.
func TestWordsThatMustNotComeBack(t *testing.T) {
	goFiles(t, func(_, path string) {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range badWords(file) {
			t.Errorf("%s: %s", fset.Position(at.pos), at.word)
		}
		for _, word := range wordsIn(strings.TrimSuffix(filepath.Base(path), ".go")) {
			if slices.Contains(bannedNames, word) {
				t.Errorf("%s: the file's name", path)
			}
		}
	})
}

// badWord is a place in a source that uses a banned word.
type badWord struct {
	pos  token.Pos
	word string
}

func badWords(file *ast.File) (all []badWord) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			for _, word := range bannedWords.FindAllString(c.Text, -1) {
				all = append(all, badWord{c.Pos(), "comment: " + word})
			}
		}
	}
	used := map[*ast.Ident]bool{} // names that another place declares
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			used[n.Sel] = true
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok {
				used[key] = true
			}
		case *ast.FuncDecl:
			if n.Doc != nil && answersFor.MatchString(strings.ReplaceAll(n.Doc.Text(), "\n", " ")) {
				all = append(all, badWord{n.Doc.Pos(), "comment of " + n.Name.Name + ": use returns or reports"})
			}
		case *ast.Ident:
			for _, word := range wordsIn(n.Name) {
				if !used[n] && slices.Contains(bannedNames, word) {
					all = append(all, badWord{n.Pos(), "identifier: " + n.Name})
				}
			}
		}
		return true
	})
	return all
}

// wordsIn splits an identifier: HTTPBind is http and bind.
func wordsIn(name string) (words []string) {
	runes, start := []rune(name), 0
	for i := 1; i <= len(runes); i++ {
		if i < len(runes) && runes[i] != '_' && (!unicode.IsUpper(runes[i]) || unicode.IsUpper(runes[i-1]) && (i+1 == len(runes) || unicode.IsUpper(runes[i+1]))) {
			continue
		}
		words = append(words, strings.ToLower(strings.Trim(string(runes[start:i]), "_")))
		start = i
	}
	return words
}

// TestWordsAreFound feeds the finder what it must find and what it must leave.
func TestWordsAreFound(t *testing.T) {
	parse := func(code string) []badWord {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+code, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return badWords(file)
	}
	for _, code := range []string{
		"// f does it anew.\nfunc f() {}", "// Somebody asks.", "/* nobody */", "// f answers the name.\nfunc f() {}", "// f runs, and\n// answers what came.\nfunc f() {}",
		"func tellPeer() {}", "type PeerTold struct{}", "var x struct{ told bool }", "func f(wish int) {}", "var HTTPWish int", "var last_told int",
	} {
		if len(parse(code)) == 0 {
			t.Errorf("nothing found in %q", code)
		}
	}
	for _, code := range []string{
		"// f answers ARP requests.", "// f returns the name.\nfunc f() {}", "var intelligence, mender, s = 1, 2, \"told anew\"", "var x = y.Told",
	} {
		if found := parse(code); len(found) != 0 {
			t.Errorf("found in %q: %v", code, found)
		}
	}
}

// TestPhrasesAreFound feeds the finder of phrases what it must find and what it must leave.
func TestPhrasesAreFound(t *testing.T) {
	for code, found := range map[string]bool{
		`"nobody answers"`: true, "`the daemon was told to stop`": true, `"the server stays away until %s"`: true, `"3.2 s of silence"`: true,
		`"reload rejected"`: false, `"sail to telluride"`: false, `1 // nobody`: false,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar x = "+code, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if got := badPhrases(file); (len(got) > 0) != found {
			t.Errorf("%s: %v", code, got)
		}
	}
}

// goFiles calls f with each Go source of the module, by its folder.
func goFiles(t *testing.T, f func(folder, path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err == nil {
			f(folder, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
