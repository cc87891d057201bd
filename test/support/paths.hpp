// Where this build's test data and programs are. Only paths.cpp is compiled with their absolute names, so
// that a compiler cache serves every checkout.
#pragma once

#include <filesystem>

namespace holdfast::test {

/// The folder test/data.
[[nodiscard]] const std::filesystem::path& data_folder();

/// The folder that holds the programs that tests run: this build's, or HOLDFAST_PROGRAM_FOLDER of the
/// environment.
[[nodiscard]] const std::filesystem::path& program_folder();

} // namespace holdfast::test
