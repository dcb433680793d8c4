# Toolchain for 64-bit ARM on a Debian machine: cross compiler, libraries of Debian's arm64
# architecture beside our own (scripts/packages.sh arm), programs run by qemu-user.
#
#     cmake -S . -B build-arm --toolchain scripts/cmake/aarch64.cmake -DBITNET_HUB=OFF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
