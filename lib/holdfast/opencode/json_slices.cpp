#include <holdfast/opencode/json_slices.hpp>

#include <holdfast/opencode/json_text.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/error.hpp>

#include <algorithm>
#include <string_view>

namespace holdfast::opencode {
namespace {

using document_ptr = std::shared_ptr<const json_document>;

/// One pass over the text; nothing, and `ec`, when it fails.
net::awaitable<document_ptr> parse_once(runtime& world, std::shared_ptr<const std::string> text,
                                        bool exponents, error_code& ec) {
    const auto document = std::make_shared<json_document>();
    json_text_parser parser(document->memory(), exponents);
    breather breath(world);
    for (std::size_t at = 0; at < text->size() && !ec;) {
        const auto piece = std::string_view(*text).substr(at, breather::slice);
        const bool last = at + piece.size() == text->size();
        at += piece.size() - parser.put(piece, last, ec);
        if (breath.spent(piece.size()) && !last)
            co_await breath.pause();
    }
    if (!ec)
        document->root(parser.finish(ec));
    if (ec)
        co_return nullptr;
    co_return document;
}

} // namespace

net::awaitable<void> breather::pause() {
    spent_ = 0;
    co_await net::post(world_.executor(), net::use_awaitable);
}

namespace {

net::awaitable<result<document_ptr>> parse(runtime& world, std::shared_ptr<const std::string> text) {
    error_code ec;
    auto done = co_await parse_once(world, text, false, ec);
    if (ec == boost::json::error::exponent_overflow) {
        ec.clear();
        done = co_await parse_once(world, text, true, ec);
    }
    if (ec)
        co_return json_failure(ec);
    co_return done;
}

} // namespace

net::awaitable<result<document_ptr>> parse_json_in_slices(runtime& world, std::string text) {
    const auto held = std::make_shared<const std::string>(std::move(text));
    co_return co_await parse(world, held);
}

net::awaitable<result<event>> parse_event_in_slices(runtime& world, std::string text) {
    const auto held = std::make_shared<const std::string>(std::move(text));
    const auto whole = co_await parse(world, held);
    if (!whole)
        co_return whole.error();
    breather breath(world);
    co_await breath.pause();
    auto parsed = parse_event((*whole)->root(), *held);
    co_await breath.pause();
    co_return parsed;
}

} // namespace holdfast::opencode
