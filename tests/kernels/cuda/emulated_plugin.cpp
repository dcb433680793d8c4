/* The emulated device as a plug-in of its own, bitnet-cuda-emulated.so: the library and the
 * programs open it as they open the real one. A program's test says by the environment what the
 * machine has:
 *
 *   BITNET_EMULATED_DEVICES   how many; 0: none is detected
 *   BITNET_EMULATED_MEMORY    bytes of each
 *   BITNET_EMULATED_THREADS   of a block, at most: with 1 every launch is refused */
#include "cuda_emulation.h"

static bool number(const char *name, unsigned long long *value)
{
    const char *text = getenv(name);
    if (text) *value = strtoull(text, nullptr, 10);
    return text != nullptr;
}

__attribute__((constructor)) static void configure()
{
    unsigned long long value;
    if (number("BITNET_EMULATED_DEVICES", &value)) emulated_machine_now.n_devices = int(value);
    if (number("BITNET_EMULATED_MEMORY", &value)) emulated_machine_now.memory_bytes = value;
    if (number("BITNET_EMULATED_THREADS", &value))
        emulated_machine_now.properties.maxThreadsPerBlock = int(value);
}
