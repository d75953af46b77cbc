package jsonscan

// outline marks the quotes, the brackets and the backslashes of a block: bit i
// stands for byte i. Among the brackets may be bytes that have no place in JSON
// outside of strings. It is outlineByWords with SSE2, which all processors of this
// kind have, at several times its speed.
//
//go:noescape
func outline(b *[block]byte) (quotes, brackets, slashes uint64)
