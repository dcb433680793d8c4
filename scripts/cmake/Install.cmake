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
install(TARGETS bitnet_everything ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(room IN LISTS rooms)
    install(DIRECTORY ${room}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()

# The list of tools has one place, runtime/tools.h; each row becomes a link to the one program.
if(BITNET_TOOLS)
    install(TARGETS bitnet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    file(STRINGS runtime/tools.h tool_rows REGEX "^ *TOOL\\([a-z]+, \"")
    foreach(row IN LISTS tool_rows)
        string(REGEX REPLACE "^ *TOOL\\(([a-z]+),.*" "\\1" tool "${row}")
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
set(private_libraries)
foreach(library IN LISTS libraries)
    get_filename_component(name ${library} NAME)
    string(REGEX REPLACE "^lib(.+)\\.(so|a|dylib)$" "\\1" name ${name})
    if(NOT name MATCHES "::")
        string(APPEND private_libraries " -l${name}")
    endif()
endforeach()
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file(scripts/cmake/bitnet.pc.in ${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/bitnet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
