/* The core's peak: multiply-adds on registers alone. Prints GMAC/s of CPU time for every argument: avx2, avx512, bf16. */
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

/* 12 sums hide the latency of every core so far; the empty asm keeps them in registers. */
#define LOOP(TYPE, STEP)                                                                                               \
    TYPE s[12];                                                                                                        \
    for (int i = 0; i < 12; i++)                                                                                       \
        s[i] = a;                                                                                                      \
    for (long n = 0; n < TIMES / 12; n++)                                                                              \
        for (int i = 0; i < 12; i++) {                                                                                 \
            s[i] = STEP;                                                                                               \
            __asm__ volatile("" : "+v"(s[i]));                                                                         \
        }                                                                                                              \
    for (int i = 1; i < 12; i++)                                                                                       \
        s[0] += s[i];                                                                                                  \
    return ((float *)&s[0])[0];

__attribute__((target("avx2,fma"), optimize("O3,unroll-loops"))) static float avx2(float x)
{
    __m256 a = _mm256_set1_ps(x);
    LOOP(__m256, _mm256_fmadd_ps(a, a, s[i]))
}

__attribute__((target("avx512f"), optimize("O3,unroll-loops"))) static float avx512(float x)
{
    __m512 a = _mm512_set1_ps(x);
    LOOP(__m512, _mm512_fmadd_ps(a, a, s[i]))
}

__attribute__((target("avx512f,avx512bf16"), optimize("O3,unroll-loops"))) static float bf16(float x)
{
    __m512 a = _mm512_set1_ps(x);
    LOOP(__m512, _mm512_dpbf16_ps(s[i], (__m512bh)a, (__m512bh)a))
}

int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        int lanes = strcmp(names[i], "avx2") == 0 ? 8 : strcmp(names[i], "avx512") == 0 ? 16 : 32;
        double before = seconds();
        volatile float sum = lanes == 8 ? avx2(1e-3f) : lanes == 16 ? avx512(1e-3f) : bf16(1e-3f);
        (void)sum;
        printf("%s %.2f\n", names[i], TIMES / 12 * 12 * lanes / (seconds() - before) / 1e9);
    }
    return 0;
}
