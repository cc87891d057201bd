#include "connect_to.hpp"

#include <holdfast/http/url.hpp>

#include <string>
#include <utility>

namespace holdfast::app {
namespace {

class diverted_network final : public network {
public:
    diverted_network(std::unique_ptr<network> inner, endpoint from, endpoint to)
        : inner_(std::move(inner)), from_(std::move(from)), to_(std::move(to)) {}

    net::awaitable<result<std::unique_ptr<connection>>> connect(endpoint where) override {
        return inner_->connect(where == from_ ? to_ : std::move(where));
    }

private:
    std::unique_ptr<network> inner_;
    endpoint from_;
    endpoint to_;
};

} // namespace

std::optional<endpoint> parse_place(std::string_view text) {
    const auto place = http::parse_url("http://" + std::string(text));
    const auto same = http::parse_url("https://" + std::string(text)); // has another port, if none is given
    if (!place || !same || place->has_userinfo || place->target != "/" || text.ends_with('/') ||
        place->where.port != same->where.port)
        return std::nullopt;
    return place->where;
}

std::unique_ptr<network> connecting_to(std::unique_ptr<network> inner, endpoint from, endpoint to) {
    to.scheme = from.scheme;
    return std::make_unique<diverted_network>(std::move(inner), std::move(from), std::move(to));
}

} // namespace holdfast::app
