package config

import (
	"slices"
	"strings"
)

// near returns the candidate that name is most likely a misspelling of, or "".
func near(name string, candidates []string) string {
	best, bestDistance := "", max(1, len(name)/3)+1
	plain := simplify(name)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if c == name {
			continue
		}
		if d := distance(plain, simplify(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// didYouMean is the fix for a misspelt name: the nearest candidate, or all of
// them if none is near and they are few.
func didYouMean(name string, candidates []string) string {
	if c := near(name, candidates); c != "" {
		return "did you mean " + c + "?"
	}
	if len(candidates) == 0 || len(candidates) > 20 {
		return ""
	}
	return "known: " + strings.Join(slices.Sorted(slices.Values(candidates)), ", ")
}

func simplify(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "-", "_")
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make a into b.
func distance(a, b string) int {
	const long = 64 // names are shorter; what is longer is not worth the square of its length
	if len(a) > long || len(b) > long {
		return max(len(a), len(b))
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := 1
			if a[i-1] == b[j-1] {
				replace = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
