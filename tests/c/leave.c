/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host that closes nothing: main returns while frames are being analysed. The exit code is the host's.
 */
#include "host.h"

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const coverslip_api *api = host_api(host_load(argv[1]));
    const coverslip_runtime runtime = host_open(api, argv[2]);
    const coverslip_slide slide = host_begin(api, runtime);
    host_scan(api, slide, host_about(api, runtime).side);
    return 0;
}
