# Toolchain for 64-bit ARM on a Debian machine (gcc-aarch64-linux-gnu, qemu-user): programs are
# linked statically, so that qemu runs them without an ARM system around.
#     cmake -S . -B build-arm --toolchain scripts/cmake/aarch64.cmake -DBITNET_TOOLS=OFF
#     cmake --build build-arm --target check_kernels
#     qemu-aarch64 -cpu max build-arm/tests/kernels/check_kernels
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max)
