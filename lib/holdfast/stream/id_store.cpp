#include <holdfast/stream/id_store.hpp>

#include <string_view>
#include <utility>

namespace holdfast::stream {
namespace {

class file_id_store final : public id_store {
public:
    file_id_store(std::unique_ptr<files> by, std::string path) : by_(std::move(by)), path_(std::move(path)) {}

    result<std::string> load() override {
        auto held = by_->read(path_, max_id_file);
        if (!held)
            return held.error();
        auto id = std::move(*held).value_or(std::string());
        if (id.ends_with('\n'))
            id.pop_back();
        if (id.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
            auto why = retry::make_failure(errc::local);
            why.message = path_ + " holds something else than an event id";
            return why;
        }
        return id;
    }

    result<void> store(const std::string& id) override { return replace_file(*by_, path_, id + '\n'); }

private:
    std::unique_ptr<files> by_;
    std::string path_;
};

} // namespace

std::shared_ptr<id_store> make_file_id_store(std::unique_ptr<files> by, std::string path) {
    return std::make_shared<file_id_store>(std::move(by), std::move(path));
}

} // namespace holdfast::stream
