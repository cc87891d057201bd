#include "support/paths.hpp"

namespace holdfast::test {

const std::filesystem::path& data_folder() {
    static const std::filesystem::path folder = HOLDFAST_TEST_DATA;
    return folder;
}

const std::filesystem::path& program_folder() {
    static const std::filesystem::path folder = HOLDFAST_BIN_DIR;
    return folder;
}

} // namespace holdfast::test
