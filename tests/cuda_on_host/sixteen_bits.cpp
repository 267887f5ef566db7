// Holds the conversions of sixteen_bits.h to their definition: each number of a type is itself again, and whatever lies
// between two neighbours becomes the nearer one, half-way that whose last bit is 0.

#include "sixteen_bits.h"

#include <cstdio>
#include <cstdlib>

template <class T> static void check(uint16_t bits, float x, const char *what)
{
    T stored;
    store(&stored, x);
    if (stored.bits == bits)
        return;
    std::fprintf(stderr, "%s: %a becomes %04x and not %04x\n", what, (double)x, stored.bits, bits);
    std::exit(1);
}

// `largest` is the largest finite number's bits, of `exponent` the type's highest power of two.
template <class T> static void check_type(const char *what, uint16_t largest, int exponent)
{
    for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
        for (uint32_t bits = 0; bits <= largest; bits++) {
            T here = {(uint16_t)(sign | bits)}, next = {(uint16_t)(sign | (bits + 1))};
            float low = to_float(here);
            // The next number's place, were the range without an end.
            float high = bits == largest ? std::ldexp(sign ? -1.0f : 1.0f, exponent) * 2 : to_float(next);
            check<T>(here.bits, low, what);
            double middle = (double)low + ((double)high - low) / 2;
            if (bits == largest && exponent == 127)
                // 2^128 isn't a float: half a unit above the largest is.
                middle = (double)low + (low - (double)to_float(T{(uint16_t)(sign | (bits - 1))})) / 2;
            check<T>(bits % 2 == 0 ? here.bits : next.bits, (float)middle, what);
            check<T>(here.bits, std::nextafter((float)middle, low), what);
            check<T>(next.bits, std::nextafter((float)middle, sign ? -INFINITY : INFINITY), what);
        }
        T infinite = {(uint16_t)(sign | (largest + 1))};
        float end = sign ? -INFINITY : INFINITY;
        check<T>(infinite.bits, end, what);
        if (to_float(infinite) != end)
            std::exit(2);
    }
    T stored;
    store(&stored, NAN);
    if (!std::isnan(to_float(stored)))
        std::exit(3);
}

int main()
{
    check_type<bfloat16>("bfloat16", 0x7f7f, 127);
    check_type<float16>("float16", 0x7bff, 15);
    if (to_float(float16{0x3c00}) != 1.0f || to_float(float16{0x7bff}) != 65504.0f ||
        to_float(float16{0x0001}) != 0x1p-24f || to_float(bfloat16{0x3f80}) != 1.0f)
        std::exit(4);
    return 0;
}
