# The CUDA plug-in, bitnet-cuda.so: found and opened at run time beside the library or the program,
# linked by nobody, and it finds the driver by itself (static CUDA runtime).
#
#   BITNET_CUDA                  AUTO (when nvcc is there), ON (an error without it) or OFF
#   BITNET_CUDA_ARCHITECTURES    AUTO: 80 and 90a, and portable code for newer chips. ALL: every chip
#                                of the list below that this nvcc knows. Or a list: "86;89"

if(PROJECT_IS_TOP_LEVEL)
    set(cuda_default AUTO)
else()
    set(cuda_default OFF) # somebody else's build asks for it by name
endif()
set(BITNET_CUDA ${cuda_default} CACHE STRING "Build the CUDA plug-in: AUTO, ON or OFF")
set(BITNET_CUDA_ARCHITECTURES AUTO CACHE STRING "Chips to compile for: AUTO, ALL or a list")

set(BITNET_HAS_CUDA OFF)
if(BITNET_CUDA)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        set(BITNET_HAS_CUDA ON)
    elseif(NOT BITNET_CUDA STREQUAL AUTO)
        message(FATAL_ERROR "BITNET_CUDA=${BITNET_CUDA}, but no CUDA compiler was found")
    else()
        message(STATUS "CUDA plug-in: left out, no nvcc found")
    endif()
else()
    message(STATUS "CUDA plug-in: left out, BITNET_CUDA is ${BITNET_CUDA}")
endif()

if(BITNET_HAS_CUDA)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES OFF) # we say -gencode ourselves
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_FLAGS_RELEASE "-O3") # assertions stay on
    set(wanted ${BITNET_CUDA_ARCHITECTURES})
    if(wanted STREQUAL AUTO)
        set(wanted 80 90a)
    elseif(wanted STREQUAL ALL)
        set(wanted 75 80 86 89 90a 100 120)
    endif()
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known)
    set(BITNET_CUDA_CODE)
    set(BITNET_CUDA_CHIPS)
    foreach(chip IN LISTS wanted)
        string(REGEX REPLACE "[^0-9]" "" number ${chip})
        if(known MATCHES "compute_${number}[ \n]")
            list(APPEND BITNET_CUDA_CODE "-gencode=arch=compute_${chip},code=sm_${chip}")
            list(APPEND BITNET_CUDA_CHIPS ${chip})
        else()
            message(STATUS "CUDA plug-in: this nvcc does not know sm_${chip}")
        endif()
    endforeach()
    list(APPEND BITNET_CUDA_CODE "-gencode=arch=compute_80,code=compute_80")
    message(STATUS "CUDA plug-in: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, chips ${BITNET_CUDA_CHIPS}")
endif()
