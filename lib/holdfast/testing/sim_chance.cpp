#include <holdfast/testing/sim_chance.hpp>

namespace holdfast::testing::detail {

namespace {

constexpr std::string_view base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view base36 = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view hex = "0123456789abcdef";

std::string twelve_digits(std::uint64_t value) {
    std::string out(12, '0');
    for (std::size_t i = 12; i-- > 0; value >>= 4)
        out[i] = hex[value & 15];
    return out;
}

} // namespace

std::uint64_t chance::draw(std::uint64_t below) {
    return draws_() % below;
}

duration chance::between(milliseconds least, milliseconds most) {
    return least + milliseconds(draw(static_cast<std::uint64_t>((most - least).count()) + 1));
}

bool chance::happens(double probability) {
    return static_cast<double>(draw(1'000'000)) < probability * 1e6;
}

std::string chance::random_text(std::size_t size, std::string_view alphabet) {
    std::string out;
    for (std::size_t i = 0; i < size; ++i)
        out.push_back(alphabet[draw(alphabet.size())]);
    return out;
}

std::string chance::ascending(std::string_view prefix) {
    const auto ms = wall_ms();
    if (ms != last_id_ms_)
        ids_in_ms_ = 0;
    last_id_ms_ = ms;
    const auto value = static_cast<std::uint64_t>(ms) * 4096 + ++ids_in_ms_;
    return std::string(prefix) + "_" + twelve_digits(value) + random_text(14, base62);
}

std::string chance::descending(std::string_view prefix) {
    return std::string(prefix) + "_" +
           twelve_digits(~(static_cast<std::uint64_t>(wall_ms()) * 4096 + draw(4096))) +
           random_text(14, base62);
}

std::string chance::call_id() {
    return "call_" + random_text(11, base36);
}

std::string chance::error_reference() {
    return "err_" + random_text(8, hex);
}

std::int64_t chance::wall_ms() const {
    const auto at = epoch_ + std::chrono::duration_cast<wall_time::duration>(line_.now() - origin_);
    return std::chrono::duration_cast<milliseconds>(at.time_since_epoch()).count();
}

} // namespace holdfast::testing::detail
