# As a part of somebody else's build we install nothing, register no tests and change no flags.
# Configures only; the library itself is compiled by everybody else here.
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/doors.cmake)
set(build ${WORK_DIR}/subproject)
file(REMOVE_RECURSE ${build})
execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE_DIR}/tests/package -B ${build} -G ${GENERATOR}
    -D CMAKE_C_COMPILER=${CC} -D SUBPROJECT=${SOURCE_DIR} RESULT_VARIABLE result OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${output}")
endif()

file(READ ${build}/after after)
if(NOT after STREQUAL "-DOUTSIDE=1||")
    string(APPEND failures "flags, build type and standard are now: ${after}\n")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --install ${build} --prefix ${build}/installed RESULT_VARIABLE result
    OUTPUT_QUIET ERROR_QUIET)
file(GLOB_RECURSE installed ${build}/installed/*)
if(installed OR NOT result EQUAL 0)
    string(APPEND failures "installs ${installed} (${result})\n")
endif()
file(GLOB_RECURSE tests ${build}/bitnet/CTestTestfile.cmake)
foreach(file IN LISTS tests)
    file(READ ${file} text)
    if(text MATCHES "add_test")
        string(APPEND failures "${file} registers tests\n")
    endif()
endforeach()
finish("nothing installed, no tests, no flags changed")
