# One function per idea. A room is an object library that sees its own folder, its own door
# (<room>/include) and the doors of the rooms it names, and nothing else: an include that the
# table of directions forbids is "file not found".

set(BITNET_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wformat=2 -Wno-format-nonliteral -Wimplicit-fallthrough)
set(BITNET_FLAGS -ffp-contract=off -fno-strict-aliasing -fwrapv -fno-common
    -fno-delete-null-pointer-checks -fstack-protector-strong -fno-semantic-interposition)
# gcc 12 for AArch64 crashes in its vectorizer on several of our files (vect_transform_reduction).
if(CMAKE_C_COMPILER_ID STREQUAL GNU AND CMAKE_C_COMPILER_VERSION VERSION_LESS 13 AND
   CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    list(APPEND BITNET_FLAGS -fno-tree-vectorize)
endif()
if(BITNET_WERROR)
    list(APPEND BITNET_WARNINGS -Werror)
endif()
if(BITNET_FUZZ)
    list(APPEND BITNET_FLAGS -fsanitize=fuzzer-no-link)
endif()

# bitnet_common(TARGET): what every C target of ours is compiled with.
function(bitnet_common target)
    set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
        POSITION_INDEPENDENT_CODE ON)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE _FILE_OFFSET_BITS=64)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:${BITNET_WARNINGS} ${BITNET_FLAGS}>)
    if(BITNET_FUZZ)
        target_link_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    if(BITNET_SANITIZE)
        target_compile_options(${target} PRIVATE -fsanitize=${BITNET_SANITIZE}
            -fno-sanitize-recover=all -fno-omit-frame-pointer)
        target_link_options(${target} PRIVATE -fsanitize=${BITNET_SANITIZE})
    endif()
endfunction()

# bitnet_doors(TARGET ROOM...): lets TARGET include <bitnet/...> of these rooms.
function(bitnet_doors target)
    foreach(room IN LISTS ARGN)
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/${room}/include)
    endforeach()
endfunction()

# bitnet_library(TARGET LIBRARY...): what the static and the shared library have in common. Both are
# made of the same objects; what the shared one shows is said by bitnet.map alone.
function(bitnet_library target)
    get_property(rooms GLOBAL PROPERTY BITNET_ROOMS)
    foreach(room IN LISTS rooms)
        target_include_directories(${target} INTERFACE
            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/${room}/include>)
    endforeach()
    target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    set_target_properties(${target} PROPERTIES OUTPUT_NAME bitnet EXPORT_NAME bitnet
        LINKER_LANGUAGE C VERSION ${PROJECT_VERSION} SOVERSION ${BITNET_ABI_VERSION})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "STATIC_LIBRARY")
        target_link_libraries(${target} PUBLIC ${ARGN})
    else()
        target_link_libraries(${target} PRIVATE ${ARGN})
        set(map ${PROJECT_SOURCE_DIR}/scripts/cmake/bitnet.map)
        if(NOT APPLE)
            target_link_options(${target} PRIVATE -Wl,--version-script=${map} -Wl,-Bsymbolic)
            set_target_properties(${target} PROPERTIES LINK_DEPENDS ${map})
        endif()
    endif()
    if(BITNET_SANITIZE)
        target_link_options(${target} PUBLIC -fsanitize=${BITNET_SANITIZE})
    endif()
endfunction()

# bitnet_room(NAME SOURCES a.c ... DEPENDS room ... LIBRARIES lib ...)
function(bitnet_room name)
    cmake_parse_arguments(R "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
    add_library(bitnet_${name} OBJECT ${R_SOURCES})
    bitnet_common(bitnet_${name})
    bitnet_doors(bitnet_${name} ${name} ${R_DEPENDS})
    target_link_libraries(bitnet_${name} PRIVATE ${R_LIBRARIES})
    set_property(GLOBAL APPEND PROPERTY BITNET_ROOMS ${name})
    set_property(GLOBAL APPEND PROPERTY BITNET_LIBRARIES ${R_LIBRARIES})
endfunction()

# bitnet_isa(ROOM NAME FLAGS ... SOURCES ...): files of a room that have their own ISA flags, so
# that their instructions cannot leak elsewhere.
function(bitnet_isa room name)
    cmake_parse_arguments(R "" "" "FLAGS;SOURCES" ${ARGN})
    target_sources(bitnet_${room} PRIVATE ${R_SOURCES})
    set_source_files_properties(${R_SOURCES} PROPERTIES COMPILE_OPTIONS "${R_FLAGS}")
endfunction()

# bitnet_tool(SOURCES main_x.c ...): programs; the only files that touch stdio and the environment.
# They may open every room's door.
function(bitnet_tool)
    cmake_parse_arguments(R "" "" "SOURCES" ${ARGN})
    foreach(source IN LISTS R_SOURCES)
        set_property(GLOBAL APPEND PROPERTY BITNET_TOOL_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    endforeach()
endfunction()

# bitnet_test(ROOM NAME SOURCES ... [LABELS ...] [TIMEOUT s]): a cmocka program linked with the
# library; sees the private headers of its room and every door.
function(bitnet_test room name)
    cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LABELS;ARGUMENTS" ${ARGN})
    add_executable(${name} ${T_SOURCES})
    bitnet_common(${name})
    get_property(rooms GLOBAL PROPERTY BITNET_ROOMS)
    bitnet_doors(${name} ${rooms})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/${room}
        ${PROJECT_SOURCE_DIR}/tests/support)
    target_compile_definitions(${name} PRIVATE
        BITNET_SOURCE_DIR="${PROJECT_SOURCE_DIR}" BITNET_BINARY_DIR="${PROJECT_BINARY_DIR}")
    target_link_libraries(${name} PRIVATE bitnet_everything ${CMOCKA_LIBRARIES} m)
    target_compile_options(${name} PRIVATE -Wno-conversion)
    add_test(NAME ${room}.${name} COMMAND ${name} ${T_ARGUMENTS})
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 900) # for what hangs, not for what a busy machine makes slow
    endif()
    set_tests_properties(${room}.${name} PROPERTIES TIMEOUT ${T_TIMEOUT} SKIP_RETURN_CODE 77
        LABELS "${T_LABELS}")
endfunction()
