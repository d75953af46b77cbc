package jsonscan

// outline is outlineByWords with SSE2, which all processors of this kind have, at
// several times its speed.
//
//go:noescape
func outline(b *[block]byte) (quotes, brackets, slashes uint64)
