# Shared by the tests of this folder: reads the facts, lists the doors, and asks a compiler.
cmake_minimum_required(VERSION 3.22)
include(${FACTS})
set(failures "")
get_filename_component(test ${CMAKE_SCRIPT_MODE_FILE} NAME_WE) # tests may run side by side

# doors_of(ROOM): sets DOORS to the header names of a room ("gguf.h").
macro(doors_of room)
    file(GLOB DOORS RELATIVE ${SOURCE_DIR}/${room}/include/bitnet ${SOURCE_DIR}/${room}/include/bitnet/*.h)
endmacro()

# compile(COMPILER LANGUAGE FLAGS ROOM HEADER): includes the header, twice, as a file of ROOM would.
# Sets COMPILED to true or false and MESSAGE to what the compiler said.
function(compile compiler language flags room header)
    set(source ${WORK_DIR}/one_door_${test})
    file(WRITE ${source} "#include <bitnet/${header}>\n#include <bitnet/${header}>\nextern int one_door;\n")
    set(command ${compiler} ${flags} -x ${language} -fsyntax-only)
    foreach(folder IN LISTS INCLUDES_${room})
        list(APPEND command -I${folder})
    endforeach()
    execute_process(COMMAND ${command} ${source} RESULT_VARIABLE result ERROR_VARIABLE message OUTPUT_QUIET)
    if(result EQUAL 0)
        set(COMPILED TRUE PARENT_SCOPE)
    else()
        set(COMPILED FALSE PARENT_SCOPE)
    endif()
    set(MESSAGE "${message}" PARENT_SCOPE)
endfunction()

# finish(WORDS): fails the test with everything that was gathered in `failures`.
macro(finish words)
    if(failures)
        message(FATAL_ERROR "${failures}")
    endif()
    message(STATUS "${words}")
endmacro()
