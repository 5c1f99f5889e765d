/* What musl takes from gcc's runtime library, in terms of tcc's. */
unsigned long long __udivmoddi4(unsigned long long dividend, unsigned long long divisor,
				unsigned long long *remainder)
{
	unsigned long long quotient = dividend / divisor;

	if (remainder)
		*remainder = dividend - quotient * divisor;
	return quotient;
}
