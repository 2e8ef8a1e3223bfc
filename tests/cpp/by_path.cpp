// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A host that loads the library by path. It links without the library and gets an exception if there is none.
#include <coverslip/coverslip.hpp>

#include <cstdio>

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    try {
        const auto library = coverslip::Library::open(argv[1]);
        return library.api().abi_major == 1 ? 3 : 4;
    } catch (const coverslip::Error &error) {
        const bool names_it = error.message().find(argv[1]) != std::string::npos;
        if (!names_it) std::fprintf(stderr, "the message does not name the file: %s\n", error.what());
        return error.code() == coverslip::Code::Io && names_it ? 0 : 1;
    }
}
