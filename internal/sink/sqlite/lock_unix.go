//go:build unix

package sqlite

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks the file for this open handle, or reports that another has it.
func tryLock(file *os.File) (ok bool, err error) {
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
