package jsonscan

import "slices"

// Elements appends to dst the text of each element of the array at a path of
// object keys, in one pass over b; of duplicate keys the last one counts. ok is
// false if a key is missing, or if something on the way is not an object or at its
// end not an array.
//
// All of b is validated but the elements that are objects: such a one ends where
// its brackets and quotes say, and whoever reads it finds what is wrong in it. If
// all elements are valid, b is.
func Elements(dst [][]byte, b []byte, path ...string) (elements [][]byte, ok bool, err error) {
	elements, end, ok, f := elementsAt(dst, b, SkipSpace(b, 0), path, 0)
	if f == noFault {
		err = atEnd(b, end)
	} else {
		err = f.at(end)
	}
	if err != nil {
		return dst, false, err
	}
	return elements, ok, nil
}

func elementsAt(dst [][]byte, b []byte, i int, path []string, depth int) (elements [][]byte, end int, ok bool, f fault) {
	switch {
	case len(path) > 0 && i < len(b) && b[i] == '{':
		return elementsOfMember(dst, b, i, path, depth)
	case len(path) == 0 && i < len(b) && b[i] == '[':
		return elementsOfArray(dst, b, i, depth)
	}
	end, _, f = scanValue(b, i, depth)
	return dst, end, false, f
}

// elementsOfMember goes on in the member of the object at b[i] that the path
// names first.
func elementsOfMember(dst [][]byte, b []byte, i int, path []string, depth int) (elements [][]byte, end int, ok bool, f fault) {
	elements = dst
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return elements, i + 1, false, noFault
	}
	for {
		keyEnd, start, _, f := scanKey(b, i)
		if f != noFault {
			return dst, keyEnd, false, f
		}
		if KeyIs(b[i:keyEnd], path[0]) {
			elements, end, ok, f = elementsAt(dst, b, start, path[1:], depth+1)
		} else {
			end, _, f = scanValue(b, start, depth+1)
		}
		if f != noFault {
			return dst, end, false, f
		}
		i = SkipSpace(b, end)
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != '}' {
		return dst, i, false, wantObjectEnd
	}
	return elements, i + 1, ok, noFault
}

// mostForeseen bounds for how many elements room is made at once: for as many as
// there are if all are as long as the last one, which may mislead.
const mostForeseen = 4096

func elementsOfArray(dst [][]byte, b []byte, i, depth int) (elements [][]byte, end int, ok bool, f fault) {
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return dst, i + 1, true, noFault
	}
	for {
		end := i
		if i < len(b) && b[i] == '{' {
			dst, end = objects(dst, b, i)
		}
		if end == i {
			if end, _, f = scanValue(b, i, depth+1); f != noFault {
				return dst, end, false, f
			}
			dst = appendElement(dst, b, i, end)
		}
		i = SkipSpace(b, end)
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = SkipSpace(b, i+1)
	}
	if i >= len(b) || b[i] != ']' {
		return dst, i, false, wantArrayEnd
	}
	return dst, i + 1, true, noFault
}

func appendElement(dst [][]byte, b []byte, start, end int) [][]byte {
	if len(dst) == cap(dst) {
		dst = slices.Grow(dst, min((len(b)-start)/(end-start)*9/8, mostForeseen)+1)
	}
	return append(dst, b[start:end:end])
}
