//go:build !amd64

package jsonscan

func outline(b *[block]byte) (quotes, brackets, slashes uint64) { return outlineByWords(b) }
