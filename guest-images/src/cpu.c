/*
 * Computes with what a processor holds between instructions: arithmetic flags that were set a while before they are asked for, the
 * x87's stack, control and status word, the SSE registers' control word. Usage: cpu ROUNDS.
 * It prints a checksum, which is the same however often the machine was frozen meanwhile. Without ROUNDS it prints the address at which
 * it is meanwhile.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Carry, parity, adjust, zero, sign and overflow. */
#define ARITHMETIC_FLAGS 0x8d5
/* Exceptions masked, full precision; round down. */
#define X87_CONTROL 0x077f
/* Exceptions masked; round towards zero. */
#define SSE_CONTROL 0x7f80
/* None of these changes flags, and an emulator may stop at each return. */
#define A_WHILE "movl $20, %%ecx\n1: call come_back\nloop 1b\n"
void come_back(void);
asm(".text\n.globl come_back\ncome_back: ret");

static uint32_t flags_after(uint32_t a, uint32_t b)
{
	uint32_t flags;

	asm volatile("addl %2, %1\n" A_WHILE "pushfl\npopl %0"
		     : "=a" (flags) : "b" (a), "S" (b) : "ecx", "memory");
	return flags & ARITHMETIC_FLAGS;
}

/* Two numbers stay on the stack, and what they compare to in the status word. */
static uint32_t compare_and_divide(double a, double b, double *quotient)
{
	uint32_t status;

	asm volatile("fldl (%2)\nfldl (%1)\nfucom %%st(1)\n" A_WHILE "xorl %%eax, %%eax\nfnstsw %%ax\nfdivp\nfstpl (%3)"
		     : "=a" (status) : "b" (&a), "S" (&b), "D" (quotient) : "ecx", "memory");
	return status;
}

static uint16_t x87_control(void)
{
	uint16_t control;

	asm volatile("fnstcw (%0)" : : "b" (&control) : "memory");
	return control;
}

/* stmxcsr (%eax); movsd (%ebx), %xmm0; after a while cvtsd2si %xmm0, %ecx, which rounds as that says. */
static uint32_t sse_round(double value, uint32_t *control)
{
	uint32_t rounded;

	asm volatile(".byte 0x0f, 0xae, 0x18, 0xf2, 0x0f, 0x10, 0x03\n" A_WHILE ".byte 0xf2, 0x0f, 0x2d, 0xc8\nmovl %%ecx, %0"
		     : "=S" (rounded) : "a" (control), "b" (&value) : "ecx", "memory");
	return rounded;
}

static uint32_t mix(uint32_t sum, uint32_t value)
{
	return (sum << 5 | sum >> 27) * 2654435761u + value;
}

int main(int argc, char **argv)
{
	uint16_t x87 = X87_CONTROL;
	uint32_t sse = SSE_CONTROL, sum = 1, seen;
	union { double number; uint32_t words[2]; } quotient = { 0.3 };
	int rounds = argc == 2 ? atoi(argv[1]) : 0;
	int round;

	if (argc == 1) {
		printf("%08x\n", (unsigned)come_back);
		return 0;
	}
	asm volatile("fldcw (%0)\n.byte 0x0f, 0xae, 0x11" : : "b" (&x87), "c" (&sse) : "memory");
	for (round = 1; round <= rounds; round++) {
		sum = mix(sum, flags_after(sum, ~(sum >> round % 32)));
		sum = mix(sum, compare_and_divide(round % 7 + quotient.number, round % 5 + 1, &quotient.number));
		sum = mix(sum, quotient.words[0] ^ quotient.words[1]);
		sum = mix(sum, sse_round((round % 2 ? 1000 : -1000) * quotient.number, &seen));
		sum = mix(sum, seen ^ x87_control());
	}
	printf("%08x\n", (unsigned)sum);
	return 0;
}
