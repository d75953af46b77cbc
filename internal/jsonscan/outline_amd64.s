#include "textflag.h"

DATA quote<>+0(SB)/8, $0x2222222222222222
DATA quote<>+8(SB)/8, $0x2222222222222222
GLOBL quote<>(SB), RODATA|NOPTR, $16

DATA slash<>+0(SB)/8, $0x5c5c5c5c5c5c5c5c
DATA slash<>+8(SB)/8, $0x5c5c5c5c5c5c5c5c
GLOBL slash<>(SB), RODATA|NOPTR, $16

// What the brackets [ ] { } do not share, and what they are with it.
DATA unlike<>+0(SB)/8, $0x2626262626262626
DATA unlike<>+8(SB)/8, $0x2626262626262626
GLOBL unlike<>(SB), RODATA|NOPTR, $16

DATA bracket<>+0(SB)/8, $0x7f7f7f7f7f7f7f7f
DATA bracket<>+8(SB)/8, $0x7f7f7f7f7f7f7f7f
GLOBL bracket<>(SB), RODATA|NOPTR, $16

// LANE marks 16 bytes and adds the marks, from the given bit on.
#define LANE(offset, bit) \
	MOVOU    offset(SI), X0; \
	MOVO     X0, X1; \
	MOVO     X0, X2; \
	POR      X6, X0; \
	PCMPEQB  X4, X1; \
	PCMPEQB  X7, X0; \
	PCMPEQB  X5, X2; \
	PMOVMSKB X1, R8; \
	PMOVMSKB X0, R9; \
	PMOVMSKB X2, R10; \
	SHLQ     $bit, R8; \
	SHLQ     $bit, R9; \
	SHLQ     $bit, R10; \
	ORQ      R8, AX; \
	ORQ      R9, BX; \
	ORQ      R10, CX

// func outline(b *[block]byte) (quotes, brackets, slashes uint64)
TEXT ·outline(SB), NOSPLIT, $0-32
	MOVQ  b+0(FP), SI
	MOVOU quote<>(SB), X4
	MOVOU slash<>(SB), X5
	MOVOU unlike<>(SB), X6
	MOVOU bracket<>(SB), X7
	XORL  AX, AX
	XORL  BX, BX
	XORL  CX, CX

	LANE(0, 0)
	LANE(16, 16)
	LANE(32, 32)
	LANE(48, 48)

	MOVQ AX, quotes+8(FP)
	MOVQ BX, brackets+16(FP)
	MOVQ CX, slashes+24(FP)
	RET
