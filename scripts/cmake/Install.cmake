# What `cmake --install` puts where. Everything below the prefix finds the rest relative to itself, so
# the installed folder may be moved.
#
#   bin/bitnet, bin/bitnet-<tool> (links)     include/bitnet/*.h
#   lib/libbitnet.so, libbitnet.a             lib/cmake/bitnet/, lib/pkgconfig/bitnet.pc

include(CMakePackageConfigHelpers)

install(TARGETS bitnet_shared EXPORT bitnet
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

# An archive cannot hide names that its files share among themselves, so for others it becomes one
# object in which only bitnet_* is global. (Our own program and tests link the plain archive.)
if(CMAKE_OBJCOPY AND NOT APPLE)
    set(merged ${CMAKE_CURRENT_BINARY_DIR}/merged)
    file(MAKE_DIRECTORY ${merged})
    add_custom_command(OUTPUT ${merged}/libbitnet.a
        COMMAND ${CMAKE_LINKER} -r --whole-archive $<TARGET_FILE:bitnet_everything> -o ${merged}/bitnet.o
        COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=bitnet_* ${merged}/bitnet.o
        COMMAND ${CMAKE_COMMAND} -E rm -f ${merged}/libbitnet.a
        COMMAND ${CMAKE_AR} rcs ${merged}/libbitnet.a ${merged}/bitnet.o
        DEPENDS bitnet_everything VERBATIM)
    add_custom_target(bitnet_merged ALL DEPENDS ${merged}/libbitnet.a)
    install(FILES ${merged}/libbitnet.a DESTINATION ${CMAKE_INSTALL_LIBDIR})
else()
    install(TARGETS bitnet_everything ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

foreach(room IN LISTS rooms)
    install(DIRECTORY ${room}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()

# <bitnet/bitnet.h>: all doors in one, with C linkage for C++. What the doors take from the system
# comes first, because C++ libraries do not like to be included inside extern "C".
set(all_doors)
foreach(room IN LISTS rooms)
    file(GLOB doors RELATIVE ${PROJECT_SOURCE_DIR}/${room}/include CONFIGURE_DEPENDS ${room}/include/bitnet/*.h)
    foreach(door IN LISTS doors)
        string(APPEND all_doors "#include \"${door}\"\n")
    endforeach()
endforeach()
configure_file(scripts/cmake/bitnet.h.in ${CMAKE_CURRENT_BINARY_DIR}/bitnet.h @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bitnet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/bitnet)

# The list of tools has one place, runtime/tools.h; each row becomes a link to the one program.
if(BITNET_TOOLS)
    install(TARGETS bitnet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    file(READ runtime/tools.h tool_list)
    string(REGEX MATCHALL "TOOL\\([a-z]+, \"" tool_rows "${tool_list}")
    foreach(row IN LISTS tool_rows)
        string(REGEX REPLACE "TOOL\\(([a-z]+),.*" "\\1" tool "${row}")
        install(CODE "file(CREATE_LINK bitnet
            \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/bitnet-${tool}\" SYMBOLIC)")
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS runtime/tools.h)
endif()

# find_package(bitnet): the target bitnet::bitnet.
set(cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/bitnet)
install(EXPORT bitnet NAMESPACE bitnet:: FILE bitnet-targets.cmake DESTINATION ${cmake_folder})
configure_package_config_file(scripts/cmake/bitnet-config.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/bitnet-config.cmake INSTALL_DESTINATION ${cmake_folder})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/bitnet-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bitnet-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/bitnet-config-version.cmake DESTINATION ${cmake_folder})

# pkg-config: what the static library needs besides itself goes into Libs.private, by name.
set(needed)
foreach(library IN LISTS libraries)
    if(TARGET ${library})
        get_target_property(library ${library} INTERFACE_LINK_LIBRARIES)
    endif()
    list(APPEND needed ${library})
endforeach()
set(private_libraries)
foreach(library IN LISTS needed)
    get_filename_component(name "${library}" NAME)
    string(REGEX REPLACE "^(lib|-l)(.+)$" "\\2" name "${name}")
    string(REGEX REPLACE "\\.(so|a|dylib)$" "" name "${name}")
    if(name MATCHES "^[A-Za-z0-9_+.-]+$" AND NOT name MATCHES "NOTFOUND$")
        list(APPEND private_libraries -l${name})
    endif()
endforeach()
list(REMOVE_DUPLICATES private_libraries)
list(JOIN private_libraries " " private_libraries)
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file(scripts/cmake/bitnet.pc.in ${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
