package ledger

// Limits say how many records of a stream may be set aside because they cannot
// become rows, before a slice fails instead.
type Limits struct {
	// Records is the most that one run sets aside of the stream. 0: the first
	// such record fails its slice.
	Records int64
	// Share is the largest part of a slice's records, from 0 to 1. It counts
	// once more than ShareFloor records of the slice are set aside.
	Share float64
}

// DefaultLimits hold where the configuration has none: enough for the odd record
// that a vendor got wrong, too little for a stream that changed its types.
var DefaultLimits = Limits{Records: 1000, Share: 0.01}

// ShareFloor is how many records of a slice may be set aside whatever their
// share: of a handful of records each is a large share.
const ShareFloor = 10
