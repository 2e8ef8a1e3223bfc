/* The core's peak: multiply-adds on registers alone. Prints GMAC/s of CPU time for every argument: avx2, avx512,
   bf16, fp16, vnni. */
#include <immintrin.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIMES 40000000L

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* 12 sums hide the latency of every core so far; the empty asm keeps them apart and in registers. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define ONE(i) s##i = STEP(s##i); __asm__ volatile("" : "+v"(s##i));
#define BEGIN(i) TYPE s##i = a;
#define ADD(i) total += ((float *)&s##i)[0];
#define LOOP()                                                                                                         \
    EACH(BEGIN)                                                                                                        \
    for (long n = 0; n < TIMES / 12; n++) {                                                                            \
        EACH(ONE)                                                                                                      \
    }                                                                                                                  \
    float total = 0;                                                                                                   \
    EACH(ADD)                                                                                                          \
    return total;

__attribute__((target("avx2,fma"))) static float avx2(float x)
{
    __m256 a = _mm256_set1_ps(x);
#define TYPE __m256
#define STEP(s) _mm256_fmadd_ps(a, a, s)
    LOOP()
#undef TYPE
#undef STEP
}

__attribute__((target("avx512f"))) static float avx512(float x)
{
    __m512 a = _mm512_set1_ps(x);
#define TYPE __m512
#define STEP(s) _mm512_fmadd_ps(a, a, s)
    LOOP()
#undef TYPE
#undef STEP
}

__attribute__((target("avx512f,avx512bf16"))) static float bf16(float x)
{
    __m512 a = _mm512_set1_ps(x);
#define TYPE __m512
#define STEP(s) _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)a)
    LOOP()
#undef TYPE
#undef STEP
}

__attribute__((target("avx512f,avx512fp16"))) static float fp16(float x)
{
    __m512h a = _mm512_castps_ph(_mm512_set1_ps(x));
#define TYPE __m512h
#define STEP(s) _mm512_fmadd_ph(a, a, s)
    LOOP()
#undef TYPE
#undef STEP
}

__attribute__((target("avx512f,avx512vnni"))) static float vnni(float x)
{
    __m512 a = _mm512_set1_ps(x);
#define TYPE __m512
#define BITS(v) _mm512_castps_si512(v)
#define STEP(s) _mm512_castsi512_ps(_mm512_dpbusd_epi32(BITS(s), BITS(a), BITS(a)))
    LOOP()
}

int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        static const struct {
            const char *name;
            int lanes;
            float (*run)(float);
        } kinds[] = {{"avx2", 8, avx2}, {"avx512", 16, avx512}, {"bf16", 32, bf16}, {"fp16", 32, fp16}, {"vnni", 64, vnni}};
        int kind = 4;
        while (kind > 0 && strcmp(names[i], kinds[kind].name) != 0) {
            kind--;
        }
        int lanes = kinds[kind].lanes;
        double before = seconds();
        volatile float sum = kinds[kind].run(1e-3f);
        (void)sum;
        printf("%s %.2f\n", names[i], TIMES / 12 * 12 * lanes / (seconds() - before) / 1e9);
    }
    return 0;
}
