/* Wine before version 9 lacks this library, from which Rust's standard library takes its seeds. For tests under Wine
 * alone. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); /* RtlGenRandom, of advapi32 */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    for (; length > 0x10000000; data += 0x10000000, length -= 0x10000000)
        if (!SystemFunction036(data, 0x10000000)) return FALSE;
    return SystemFunction036(data, (ULONG)length);
}
