/* The version of this library. One place; CMake reads it from here. */
#ifndef BITNET_VERSION_H
#define BITNET_VERSION_H

#define BITNET_VERSION     "0.1.0"
#define BITNET_ABI_VERSION 0

/* Those of the library that is running, which may be another than the header's. */
const char *bitnet_version(void);
/* Changes when a program must be compiled again; it is also the number of libbitnet.so.N. */
int bitnet_abi_version(void);

#endif
