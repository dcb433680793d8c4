/* The loops for CPUs with AVX2 (Intel from 2013, AMD from 2015): eight floats or four doubles at a
 * time, where the plain set has half of that. Compiled with its own flags (convert/CMakeLists.txt);
 * no product is contracted with a sum, so the bits are those of the plain set. */
#include <bitnet/cpu.h>

#include "../loops.h"

extern const struct loops loops_avx2;

#define LOOPS       loops_avx2
#define LOOPS_NAME  "avx2"
#define LOOPS_NEEDS BITNET_CPU_AVX2
#include "../loops_body.h"
