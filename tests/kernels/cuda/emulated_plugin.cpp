/* The emulated device as a plug-in of its own, bitnet-cuda-emulated.so: the library and the
 * programs open it as they open the real one. The environment says what the machine has:
 *
 *   BITNET_EMULATED_DEVICES   how many; 0: none is detected
 *   BITNET_EMULATED_MEMORY    bytes of each
 *   BITNET_EMULATED_THREADS   of a block, at most: with 1 every launch is refused
 *
 * It is read when the plug-in is opened, and again when a test calls emulated_configure(). */
#include "cuda_emulation.h"

static unsigned long long number(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

extern "C" __attribute__((visibility("default"))) void emulated_configure()
{
    static const emulated_machine as_built = emulated_machine_now;
    emulated_machine &now = emulated_machine_now;
    now.n_devices = int(number("BITNET_EMULATED_DEVICES", as_built.n_devices));
    now.memory_bytes = number("BITNET_EMULATED_MEMORY", as_built.memory_bytes);
    now.properties.maxThreadsPerBlock =
        int(number("BITNET_EMULATED_THREADS", as_built.properties.maxThreadsPerBlock));
}

__attribute__((constructor)) static void configure()
{
    emulated_configure();
}
