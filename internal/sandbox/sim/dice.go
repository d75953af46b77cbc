package sim

// Mix makes one well-mixed number of two: splitmix64's finalizer over their
// combination.
func Mix(a, b uint64) uint64 {
	z := a + (b+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Dice draws values that depend on its keys alone.
type Dice struct{ state uint64 }

// Roll returns the dice of the thing that a and b number, for a seed that
// already tells one kind of thing from another.
func Roll(seed, a, b uint64) Dice { return Dice{Mix(Mix(seed, a), b)} }

// Next draws 64 bits.
func (d *Dice) Next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	return Mix(d.state, 0)
}

// Below draws from 0 to n-1.
func (d *Dice) Below(n int) int { return int((d.Next() >> 32) * uint64(n) >> 32) }

// Between draws from low to high, both included.
func (d *Dice) Between(low, high int) int { return low + d.Below(high-low+1) }

// Unit draws from [0, 1).
func (d *Dice) Unit() float64 { return float64(d.Next()>>11) / (1 << 53) }

// Chance is true with probability p.
func (d *Dice) Chance(p float64) bool { return d.Unit() < p }

// Pick draws one of the choices.
func Pick[T any](d *Dice, choices []T) T { return choices[d.Below(len(choices))] }

// UUID draws a UUID of version 4.
func (d *Dice) UUID() [16]byte { return UUIDOf(d.Next(), d.Next()) }

// UUIDOf sets the version and variant bits of RFC 9562 in high and low.
func UUIDOf(high, low uint64) [16]byte {
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	var u [16]byte
	for i := range 8 {
		u[i] = byte(high >> (56 - 8*i))
		u[8+i] = byte(low >> (56 - 8*i))
	}
	return u
}

// AppendUUID appends the text of u.
func AppendUUID(dst []byte, u [16]byte) []byte {
	const hex = "0123456789abcdef"
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hex[b>>4], hex[b&15])
	}
	return dst
}
