/* The version of this library. One place; CMake reads it from here. */
#ifndef BITNET_VERSION_H
#define BITNET_VERSION_H

#define BITNET_VERSION     "0.1.0"
#define BITNET_ABI_VERSION 0

#endif
