#include "support/paths.hpp"

#include <cstdlib>

namespace holdfast::test {

const std::filesystem::path& data_folder() {
    static const std::filesystem::path folder = HOLDFAST_TEST_DATA;
    return folder;
}

const std::filesystem::path& program_folder() {
    static const std::filesystem::path folder = [] {
        const char* const named = std::getenv("HOLDFAST_PROGRAM_FOLDER");
        return named ? named : HOLDFAST_BIN_DIR;
    }();
    return folder;
}

} // namespace holdfast::test
