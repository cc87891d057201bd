// holdfast-contract-service, held to its protocol: this program is the stream's server and the callbacks'
// receiver.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/deflate.hpp"
#include "support/plain_http.hpp"
#include "support/process.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <poll.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
namespace asio = boost::asio;
namespace json = boost::json;
using tcp = asio::ip::tcp;

/// One request, as it came, and the connection to answer it on.
class asked {
public:
    explicit asked(tcp::socket socket) : socket_(std::move(socket)) {
        const auto size = asio::read_until(socket_, asio::dynamic_buffer(body_), "\r\n\r\n");
        head_ = body_.substr(0, size);
        body_.erase(0, size);
        std::size_t length = 0;
        const auto given = header("content-length");
        std::from_chars(given.data(), given.data() + given.size(), length);
        asio::read(socket_, asio::dynamic_buffer(body_), asio::transfer_exactly(length - body_.size()));
    }

    [[nodiscard]] std::string method() const { return head_.substr(0, head_.find(' ')); }
    [[nodiscard]] std::string target() const {
        const auto begin = head_.find(' ') + 1;
        return head_.substr(begin, head_.find(' ', begin) - begin);
    }
    [[nodiscard]] const std::string& body() const { return body_; }
    /// `name` in lower case. Empty: there is none.
    [[nodiscard]] std::string header(const std::string& name) const {
        std::string lower(head_);
        std::transform(lower.begin(), lower.end(), lower.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
        const auto at = lower.find("\r\n" + name + ": ");
        if (at == std::string::npos)
            return {};
        const auto value = at + name.size() + 4;
        return head_.substr(value, head_.find('\r', value) - value);
    }

    void send(std::string_view bytes) { asio::write(socket_, asio::buffer(bytes)); }
    /// The head of an event stream that ends with the connection.
    void open_stream() {
        send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n");
    }
    void answer(int status, std::string_view fields = {}) {
        send("HTTP/1.1 " + std::to_string(status) + " Said\r\n" + std::string(fields) +
             (status == 204 ? "" : "Content-Length: 0\r\n") + "Connection: close\r\n\r\n");
    }
    void end() { socket_.shutdown(tcp::socket::shutdown_send); }
    void cut() {
        socket_.set_option(asio::socket_base::linger(true, 0));
        socket_.close();
    }
    /// Whether the client has hung up by then.
    [[nodiscard]] bool left(milliseconds deadline = 5s) {
        pollfd waiting{socket_.native_handle(), POLLIN, 0};
        char byte = 0;
        boost::system::error_code ended;
        return ::poll(&waiting, 1, static_cast<int>(deadline.count())) == 1 &&
               socket_.read_some(asio::buffer(&byte, 1), ended) == 0;
    }

private:
    tcp::socket socket_;
    std::string head_;
    std::string body_;
};

/// A port of this machine where requests arrive, one a connection.
class listener {
public:
    [[nodiscard]] std::string url(const std::string& path) const {
        return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + path;
    }

    [[nodiscard]] std::optional<asked> next_if(milliseconds deadline) {
        pollfd waiting{acceptor_.native_handle(), POLLIN, 0};
        if (::poll(&waiting, 1, static_cast<int>(deadline.count())) != 1)
            return std::nullopt;
        return asked(acceptor_.accept());
    }

    [[nodiscard]] asked next(milliseconds deadline = 10s) {
        auto one = next_if(deadline);
        if (!one)
            throw std::runtime_error("nothing came in time");
        return std::move(*one);
    }

private:
    asio::io_context io_;
    tcp::acceptor acceptor_{io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
};

process::options service_command(const std::string& port) {
    return command_of("holdfast-contract-service", {"--port", port});
}

unsigned short port_of(const process& service) {
    const auto line =
        service.wait_line([](std::string_view l) { return l.starts_with("listening on "); }, 20s);
    if (!line)
        throw std::runtime_error("the service does not start");
    return static_cast<unsigned short>(std::stoi(line->substr(line->rfind(':') + 1)));
}

/// One for all cases: a suite uses it so, too.
unsigned short service_port() {
    static const process service(service_command("0"));
    static const unsigned short port = port_of(service);
    return port;
}

/// A subscription of the service, its stream's server and its callbacks' receiver.
class contract {
public:
    explicit contract(json::object wish = {}) {
        wish["streamUrl"] = server_.url("/stream");
        if (!wish.contains("initialDelayMs"))
            wish["initialDelayMs"] = 0;
        wish["callbackUrl"] = callbacks_.url("/told");
        wish["tag"] = boost::unit_test::framework::current_test_case().p_name.get();
        const auto made = http_call(service_port(), "POST", "/", json::serialize(wish));
        BOOST_TEST_REQUIRE(made.status == 201, made.body);
        const std::string base = "Location: http://127.0.0.1:" + std::to_string(service_port());
        const auto at = made.head.find(base);
        BOOST_TEST_REQUIRE(at != std::string::npos, made.head);
        const auto begin = at + base.size();
        stream_ = made.head.substr(begin, made.head.find('\r', begin) - begin);
    }

    ~contract() { (void)http_call(service_port(), "DELETE", stream_); }

    [[nodiscard]] asked connection() { return server_.next(); }
    [[nodiscard]] std::optional<asked> connection_if(milliseconds deadline) {
        return server_.next_if(deadline);
    }
    [[nodiscard]] std::string url(const std::string& path) const { return server_.url(path); }

    /// The next connection, with a stream that is open.
    [[nodiscard]] asked open_stream() {
        auto one = connection();
        one.open_stream();
        return one;
    }

    [[nodiscard]] asked callback() { return callbacks_.next(); }
    [[nodiscard]] std::optional<asked> callback_if(milliseconds deadline) {
        return callbacks_.next_if(deadline);
    }

    /// Takes the next callback and answers it. Its number is checked.
    [[nodiscard]] json::object message() {
        auto one = callback();
        one.answer(202);
        BOOST_TEST(one.method() == "POST");
        BOOST_TEST(one.target() == "/told/" + std::to_string(++told_));
        return json::parse(one.body()).as_object();
    }

    void check_event(std::string_view data, std::string_view type = "message", std::string_view id = {}) {
        const json::object wanted{{"kind", "event"}, {"event", {{"type", type}, {"data", data}, {"id", id}}}};
        BOOST_TEST(json::serialize(message()) == json::serialize(wanted));
    }
    void check_comment(std::string_view text) {
        BOOST_TEST(json::serialize(message()) ==
                   json::serialize(json::object{{"kind", "comment"}, {"comment", text}}));
    }
    /// Returns what it says.
    std::string check_error() {
        const auto told = message();
        BOOST_TEST_REQUIRE(told.at("kind").as_string() == "error", json::serialize(told));
        return std::string(told.at("error").as_string());
    }
    void check_silence(milliseconds lasting) { BOOST_TEST(!callback_if(lasting).has_value()); }

    [[nodiscard]] int command(const std::string& name) const {
        return http_call(service_port(), "POST", stream_, json::serialize(json::object{{"command", name}}))
            .status;
    }
    [[nodiscard]] int close() const { return http_call(service_port(), "DELETE", stream_).status; }

private:
    listener server_;
    listener callbacks_;
    std::string stream_;
    std::size_t told_ = 0;
};

/// What the bytes of a stream become when they come in pieces of this size, one after the other.
void send_in_pieces(asked& to, std::string_view bytes, std::size_t size) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
        to.send(bytes.substr(0, size));
        std::this_thread::sleep_for(2ms);
    }
}

const std::string bom = "\xef\xbb\xbf";

} // namespace

// --- the service

BOOST_AUTO_TEST_CASE(it_says_what_it_is_and_what_it_can) {
    const auto said = http_call(service_port(), "GET", "/");
    BOOST_TEST(said.status == 200);
    BOOST_TEST(
        said.body ==
        R"({"name":"holdfast","capabilities":["bom","comments","compressed","cookies","headers",)"
        R"("last-event-id","post","read-timeout","report","restart","server-directed-shutdown-request"]})"
        "\n");
}

BOOST_AUTO_TEST_CASE(it_quits_when_asked_to_although_a_stream_is_open) {
    process service(service_command("0"));
    const auto port = port_of(service);
    listener server;
    const json::object wish{{"streamUrl", server.url("/")}, {"callbackUrl", server.url("/")}};
    BOOST_TEST(http_call(port, "POST", "/", json::serialize(wish)).status == 201);
    auto stream = server.next();
    stream.open_stream();
    BOOST_TEST(http_call(port, "DELETE", "/").status == 204);
    BOOST_TEST((service.wait(5s) == exit_status{0, 0}));
}

BOOST_AUTO_TEST_CASE(a_wish_that_is_none_is_refused_in_words) {
    for (
        const std::string wish :
        {"", "[]", "{}", R"({"streamUrl":"http://127.0.0.1:1/"})",
         R"({"streamUrl":"ftp://x/","callbackUrl":"http://127.0.0.1:1/"})",
         R"({"streamUrl":"http://127.0.0.1:1/","callbackUrl":"http://127.0.0.1:1/","initialDelayMs":"1"})"}) {
        const auto refused = http_call(service_port(), "POST", "/", wish);
        BOOST_TEST(refused.status == 400, wish);
        BOOST_TEST(!json::parse(refused.body).at("error").as_string().empty(), wish);
    }
}

BOOST_AUTO_TEST_CASE(what_it_does_not_know_is_not_found_or_not_allowed) {
    BOOST_TEST(http_call(service_port(), "GET", "/nothing").status == 404);
    BOOST_TEST(http_call(service_port(), "DELETE", "/streams/99999").status == 404);
    BOOST_TEST(http_call(service_port(), "PUT", "/").status == 405);
    contract one;
    BOOST_TEST(one.command("dance") == 400);
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_one_line_and_exit_code_two) {
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{},
                                                  {"--port"},
                                                  {"--port", "x"},
                                                  {"--port", "70000"},
                                                  {"--nonsense", "1"}}) {
        const auto done = run_command("holdfast-contract-service", wrong);
        BOOST_TEST(done.code() == 2, done.text());
        BOOST_TEST(done.errors.size() == 1U, done.text());
    }
}

BOOST_AUTO_TEST_CASE(a_port_that_is_taken_is_one_line_and_a_failure) {
    const auto done = run_command("holdfast-contract-service", {"--port", std::to_string(service_port())});
    BOOST_TEST(done.code() == 1, done.text());
    BOOST_TEST(done.errors == std::vector<std::string>{"holdfast-contract-service: Address already in use"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(callbacks_come_one_after_the_other) {
    contract one;
    auto stream = one.open_stream();
    stream.send("data: 1\n\ndata: 2\n\n");
    auto first = one.callback();
    BOOST_TEST(first.target() == "/told/1");
    one.check_silence(300ms); // until the first is answered
    first.answer(202);
    auto second = one.callback();
    BOOST_TEST(second.target() == "/told/2");
    second.answer(202);
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_deleted_is_hung_up_and_told_no_more) {
    contract one;
    auto stream = one.open_stream();
    stream.send("data: x\n\n");
    one.check_event("x");
    BOOST_TEST(one.close() == 204);
    BOOST_TEST(stream.left());
    one.check_silence(200ms);
    BOOST_TEST(!one.connection_if(0ms).has_value());
    BOOST_TEST(one.close() == 404);
}

// --- parsing

BOOST_AUTO_TEST_CASE(events_come_with_type_data_and_id_however_the_bytes_are_cut) {
    const std::string euro = "\xe2\x82\xac";
    const std::string bytes =
        "data: one\n\nevent: greet\nid: 7\ndata: two\ndata: lines\n\ndata\n\nid\ndata: " + euro + "\n\n";
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, bytes.size()}) {
        contract one;
        auto stream = one.open_stream();
        send_in_pieces(stream, bytes, size);
        one.check_event("one");
        one.check_event("two\nlines", "greet", "7");
        one.check_event("", "message", "7");
        one.check_event(euro);
    }
}

BOOST_AUTO_TEST_CASE(lines_end_with_lf_crlf_or_cr) {
    for (const std::string end : {"\n", "\r\n", "\r"}) {
        for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{1000}}) {
            contract one;
            auto stream = one.open_stream();
            send_in_pieces(stream, "data:" + end + "data: 2" + end + end + end + "data: 3" + end + end, size);
            one.check_event("\n2");
            one.check_event("3");
        }
    }
}

BOOST_AUTO_TEST_CASE(events_of_up_to_16_mib_pass) {
    contract one;
    auto stream = one.open_stream();
    for (const std::size_t size :
         {std::size_t{1}, std::size_t{4096}, std::size_t{1} << 20, std::size_t{16} << 20}) {
        const std::string data(size, 'x');
        stream.send("data: " + data + "\n\n");
        const auto told = one.message();
        BOOST_TEST((told.at("event").at("data").as_string() == data), size);
    }
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_at_the_start_is_skipped_and_no_other) {
    contract one;
    auto stream = one.open_stream();
    send_in_pieces(stream, bom, 1);
    stream.send("data: " + bom + "a\n\ndata: b\n\n");
    one.check_event(bom + "a");
    one.check_event("b");
}

BOOST_AUTO_TEST_CASE(comments_are_told_as_their_lines_end) {
    contract one;
    auto stream = one.open_stream();
    stream.send(":Hello\n");
    one.check_comment("Hello");
    stream.send("data: x\n:World\n\n");
    one.check_comment("World");
    one.check_event("x");
}

// --- requests

BOOST_AUTO_TEST_CASE(a_compressed_stream_is_told_as_it_is_flushed_however_its_bytes_are_cut) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{100}}) {
        contract one({{"compressed", true}});
        compressor zip(coding::gzip);
        auto stream = one.connection();
        BOOST_TEST(stream.header("accept-encoding") == "gzip, deflate");
        stream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n");
        send_in_pieces(stream, zip.put("data: one\n\n"), size);
        one.check_event("one");
        send_in_pieces(stream, zip.put("id: 7\ndata: two\n\n"), size);
        one.check_event("two", "message", "7");
    }
}

BOOST_AUTO_TEST_CASE(cookies_come_back_with_the_next_connection_where_they_are_kept) {
    for (const bool kept : {true, false}) {
        contract one({{"cookies", kept}});
        one.connection().answer(503, "Set-Cookie: node=7; Path=/\r\n");
        one.check_error();
        auto again = one.open_stream();
        BOOST_TEST(again.header("cookie") == (kept ? "node=7" : ""));
    }
}

BOOST_AUTO_TEST_CASE(a_request_says_what_event_streams_want_said) {
    contract one;
    const auto request = one.connection();
    BOOST_TEST(request.method() == "GET");
    BOOST_TEST(request.target() == "/stream");
    BOOST_TEST(request.header("accept") == "text/event-stream");
    BOOST_TEST(request.header("cache-control") == "no-cache");
    BOOST_TEST(request.header("last-event-id") == "");
}

BOOST_AUTO_TEST_CASE(headers_and_a_last_event_id_are_sent) {
    contract one(
        {{"headers", {{"header-name-1", "value-1"}, {"header-name-2", "value-2"}}}, {"lastEventId", "abc"}});
    const auto request = one.connection();
    BOOST_TEST(request.header("header-name-1") == "value-1");
    BOOST_TEST(request.header("header-name-2") == "value-2");
    BOOST_TEST(request.header("last-event-id") == "abc");
}

BOOST_AUTO_TEST_CASE(any_method_sends_its_body_and_sends_it_again) {
    for (const std::string method : {"POST", "REPORT"}) {
        contract one({{"method", method},
                      {"body", R"({"hello": "world"})"},
                      {"headers", {{"content-type", "application/json; charset=utf-8"}}}});
        for (int attempt = 0; attempt < 2; ++attempt) {
            auto stream = one.open_stream();
            BOOST_TEST(stream.method() == method);
            BOOST_TEST(stream.body() == R"({"hello": "world"})");
            BOOST_TEST(stream.header("content-type") == "application/json; charset=utf-8");
            stream.cut();
            one.check_error();
        }
    }
}

// --- what is not a stream

BOOST_AUTO_TEST_CASE(a_204_is_told_once_and_asks_for_no_more) {
    contract one;
    one.connection().answer(204);
    one.check_error();
    BOOST_TEST(!one.connection_if(1s).has_value());
}

BOOST_AUTO_TEST_CASE(redirects_are_followed) {
    for (const int status : {301, 307}) {
        contract one;
        one.connection().answer(status, "Location: " + one.url("/there") + "\r\n");
        auto there = one.open_stream();
        BOOST_TEST(there.target() == "/there");
        there.send("data: hello\n\n");
        one.check_event("hello");
    }
}

BOOST_AUTO_TEST_CASE(a_redirect_to_nowhere_is_an_error) {
    for (const int status : {301, 307}) {
        for (const std::string location : {"", "Location: \r\n"}) {
            contract one;
            one.connection().answer(status, location);
            BOOST_TEST(!one.check_error().empty());
        }
    }
}

// --- reconnecting

BOOST_AUTO_TEST_CASE(a_drop_is_one_error_and_the_next_connection_works) {
    contract one;
    auto first = one.open_stream();
    first.send("id: abc\ndata: Hello\n\nid: def\ndata: Goodbye");
    one.check_event("Hello", "message", "abc");
    first.cut();
    one.check_error();
    auto second = one.open_stream();
    BOOST_TEST(second.header("last-event-id") == "abc");
    second.send("data: We meet again\n\n");
    one.check_event("We meet again", "message", "abc");
}

BOOST_AUTO_TEST_CASE(an_id_that_was_taken_back_is_not_sent) {
    contract one;
    auto first = one.open_stream();
    first.send("id: abc\ndata: 1\n\nid:\ndata: 2\n\n");
    one.check_event("1", "message", "abc");
    one.check_event("2");
    first.end();
    one.check_error();
    BOOST_TEST(one.connection().header("last-event-id") == "");
}

BOOST_AUTO_TEST_CASE(an_initial_delay_of_zero_reconnects_at_once) {
    contract one;
    auto first = one.open_stream();
    first.send("data: x\n\n");
    one.check_event("x");
    first.cut();
    one.check_error();
    BOOST_TEST(one.connection_if(900ms).has_value()); // by default it would wait a second
}

BOOST_AUTO_TEST_CASE(the_initial_delay_is_waited_and_a_retry_field_takes_its_place) {
    contract one({{"initialDelayMs", 100}});
    const auto reconnected_after = [&](asked stream) {
        stream.cut();
        one.check_error();
        const auto begin = std::chrono::steady_clock::now();
        auto next = one.open_stream();
        return std::pair(std::move(next), std::chrono::steady_clock::now() - begin);
    };
    auto [second, waited] = reconnected_after(one.open_stream());
    BOOST_TEST((waited >= 50ms && waited < 5s), waited.count());
    second.send("retry: 600\ndata: x\n\n");
    one.check_event("x");
    auto [third, longer] = reconnected_after(std::move(second));
    BOOST_TEST((longer >= 500ms && longer < 5s), longer.count());
}

BOOST_AUTO_TEST_CASE(a_read_timeout_is_an_error_and_connects_again) {
    contract one({{"readTimeoutMs", 300}});
    auto first = one.open_stream();
    first.send("data: Hello\n\n");
    one.check_event("Hello");
    one.check_error();
    BOOST_TEST(first.left());
    auto second = one.open_stream();
    second.send("data: again\n\n");
    one.check_event("again");
}

BOOST_AUTO_TEST_CASE(a_restart_connects_again_at_once_and_is_no_error) {
    contract one({{"initialDelayMs", 60000}});
    auto first = one.open_stream();
    first.send("id: 5\ndata: Hello\n\n");
    one.check_event("Hello", "message", "5");
    BOOST_TEST(one.command("restart") == 202);
    BOOST_TEST(first.left());
    auto second = one.open_stream();
    BOOST_TEST(second.header("last-event-id") == "5");
    second.send("data: Thanks\n\n");
    one.check_event("Thanks", "message", "5");
}
