// The card's numbers of 16 bits on the host, rounded to nearest, ties to even, as the card does; tests/cuda_on_host/
// sixteen_bits.cpp holds every one of them to its definition.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

inline uint32_t bits_of(float x)
{
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}

inline float of_bits(uint32_t bits)
{
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

// The upper half of a float.
struct bfloat16 {
    uint16_t bits;
};

inline float to_float(bfloat16 x) { return of_bits((uint32_t)x.bits << 16); }

inline void store(bfloat16 *out, float x)
{
    uint32_t bits = bits_of(x);
    if (std::isnan(x))
        out->bits = (uint16_t)(bits >> 16 | 0x40);
    else
        out->bits = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// IEEE 754's binary16: a sign, 5 bits of exponent and 10 of the significand.
struct float16 {
    uint16_t bits;
};

inline float to_float(float16 x)
{
    uint32_t sign = (uint32_t)(x.bits & 0x8000) << 16;
    uint32_t exponent = x.bits >> 10 & 0x1f, significand = x.bits & 0x3ff;
    if (exponent == 0x1f)
        return of_bits(sign | 0x7f800000 | significand << 13);
    if (exponent == 0)
        // Zero and the subnormal ones are multiples of 2^-24.
        return of_bits(sign | bits_of(std::ldexp((float)significand, -24)));
    return of_bits(sign | (exponent - 15 + 127) << 23 | significand << 13);
}

inline void store(float16 *out, float x)
{
    uint16_t sign = (uint16_t)(bits_of(x) >> 16 & 0x8000);
    uint32_t magnitude = bits_of(x) & 0x7fffffff;
    if (std::isnan(x))
        out->bits = sign | 0x7fff;
    else if (magnitude < bits_of(std::ldexp(1.0f, -14)))
        // Multiples of 2^-24; what rounds up to 2^-14 gets the bits of that number.
        out->bits = (uint16_t)(sign | (uint16_t)std::nearbyint(std::ldexp(of_bits(magnitude), 24)));
    else if (magnitude >= bits_of(65520.0f))
        out->bits = sign | 0x7c00;
    else
        out->bits = (uint16_t)(sign | (magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
