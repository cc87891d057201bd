# paths.cpp as a library of its own: the only code that is compiled with this checkout's folders.
if(NOT TARGET holdfast_test_paths)
  add_library(holdfast_test_paths STATIC ${CMAKE_CURRENT_LIST_DIR}/paths.cpp)
  get_filename_component(test_folder ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
  target_include_directories(holdfast_test_paths PUBLIC ${test_folder})
  target_compile_definitions(holdfast_test_paths PRIVATE
    HOLDFAST_TEST_DATA="${test_folder}/data" HOLDFAST_BIN_DIR="${PROJECT_BINARY_DIR}/bin")
  target_link_libraries(holdfast_test_paths PRIVATE holdfast_build_flags)
  target_compile_features(holdfast_test_paths PUBLIC cxx_std_20)
endif()
