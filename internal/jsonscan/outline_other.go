//go:build !amd64

package jsonscan

// outline marks the quotes, the brackets and the backslashes of a block: bit i
// stands for byte i. Among the brackets may be bytes that have no place in JSON
// outside of strings.
func outline(b *[block]byte) (quotes, brackets, slashes uint64) { return outlineByWords(b) }
