# cmake -D READELF=... -D PROGRAM=... -D OBJECTS=... -D COMPILED=ON|OFF -D CONTROL_FLOW=ON|OFF -P check_hardening.cmake
# Whether a program, and its objects (an archive of them, or one), are hardened as they were asked to be. COMPILED: with what the
# compiler adds, too.

function(show into)
  execute_process(COMMAND ${READELF} ${ARGN} OUTPUT_VARIABLE text RESULT_VARIABLE code)
  if(code)
    message(FATAL_ERROR "${READELF} ${ARGN}: ${code}")
  endif()
  set(${into} "${text}" PARENT_SCOPE)
endfunction()

function(expect what text pattern)
  if(NOT text MATCHES "${pattern}")
    message(SEND_ERROR "no ${what}: nothing there like ${pattern}")
  endif()
endfunction()

show(file --wide --file-header "${PROGRAM}")
expect("position independent program" "${file}" "Type: +DYN")
show(segments --wide --segments "${PROGRAM}")
expect("read-only relocations" "${segments}" "GNU_RELRO")
expect("stack without execution" "${segments}" "GNU_STACK +0x0+ 0x0+ 0x0+ 0x0+ 0x0+ RW ")
show(dynamic --wide --dynamic "${PROGRAM}")
expect("binding of all symbols at the start" "${dynamic}" "BIND_NOW|Flags:.* NOW")

if(COMPILED)
  show(symbols --wide --dyn-syms "${PROGRAM}")
  expect("stack protector" "${symbols}" "__stack_chk_fail")
  expect("checked calls (_FORTIFY_SOURCE)" "${symbols}" "__[a-z]+_chk")
endif()
if(COMPILED AND CONTROL_FLOW)
  # Of the objects: in the program the property is there only if the C library's start files have it too.
  show(notes --wide --notes "${OBJECTS}")
  expect("control-flow protection" "${notes}" "IBT, SHSTK")
  string(REGEX MATCHALL "File: [^\n]+" members "${notes}")
  string(REGEX MATCHALL "IBT, SHSTK" marked "${notes}")
  list(LENGTH members count)
  if(count EQUAL 0) # not an archive
    set(count 1)
  endif()
  list(LENGTH marked protected)
  if(NOT count EQUAL protected)
    message(SEND_ERROR "control-flow protection in ${protected} of ${count} objects")
  endif()
endif()
