# Makes OUTPUT, a static library that exposes only the functions of HEADER, from cargo's ARCHIVE.

get_filename_component(directory "${OUTPUT}" DIRECTORY)
file(MAKE_DIRECTORY "${directory}")

file(READ "${HEADER}" header)
string(REGEX MATCHALL "bert_[a-z0-9_]+\\(" names "${header}")
list(TRANSFORM names REPLACE "\\(" "")
list(REMOVE_DUPLICATES names)
string(REPLACE ";" "\n" names "${names}")
file(WRITE "${directory}/names.txt" "${names}\n")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGV}")
    message(FATAL_ERROR "failed (${result}): ${command}")
  endif()
endfunction()

# One object of all: names that are no longer global can still be found inside it.
# Section groups go: of groups with one name a linker keeps the first library's alone, and the names that were global in
# the other's would lead nowhere (the one through which a panic finds its handler is such a group).
run("${LINKER}" -r --force-group-allocation --whole-archive "${ARCHIVE}" -o "${directory}/all.o")
# Rust's standard library brings LLVM bitcode along, which nothing can use once it is merged, and which breaks ar.
run("${OBJCOPY}" "--keep-global-symbols=${directory}/names.txt" --remove-section=.llvmbc --remove-section=.llvmcmd
    "${directory}/all.o" "${directory}/bert.o")
file(REMOVE "${OUTPUT}")
run("${AR}" rcs "${OUTPUT}" "${directory}/bert.o")
file(REMOVE "${directory}/all.o" "${directory}/bert.o")
