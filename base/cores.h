/* How many physical cores this process may keep busy. */
#ifndef BITNET_BASE_CORES_H
#define BITNET_BASE_CORES_H

#include <stddef.h>
#include <stdint.h>

#include "bitnet/bytes.h"

/* At least 1: cores that the affinity mask allows, at most the quota of the cgroup. */
unsigned bitnet_cores_usable(void);

/* The parts, for the test. `root` stands before "/sys" and "/proc" ("" on a real machine). */
/* Cores of these n logical CPUs: siblings that share a core count once. */
unsigned bitnet_cores_of_cpus(const char *root, const unsigned *cpus, size_t n);
/* CPUs' worth of time that the cgroups of this process allow, rounded up; 0: no quota. */
unsigned bitnet_cores_quota(const char *root);

#endif
