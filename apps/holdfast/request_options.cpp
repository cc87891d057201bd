#include "request_options.hpp"

#include "input.hpp"
#include "options.hpp"
#include "stream_options.hpp"

#include <cstdlib>

namespace holdfast::app {

namespace {

std::optional<header> parse_header(const std::string& text) {
    const auto colon = text.find(':');
    if (colon == std::string::npos || colon == 0)
        return std::nullopt;
    const auto value = text.find_first_not_of(" \t", colon + 1);
    return header{text.substr(0, colon), value == std::string::npos ? "" : text.substr(value)};
}

std::string apply_headers(const request_options& options, stream::source_config& config) {
    for (const auto& each : options.headers) {
        auto parsed = parse_header(each);
        if (!parsed)
            return "--header is given as 'Name: value'";
        config.headers.push_back(std::move(*parsed));
    }
    if (!options.last_event_id.empty())
        config.headers.push_back({"Last-Event-ID", options.last_event_id});
    return {};
}

std::string apply_data(const request_options& options, stream::source_config& config) {
    if (!options.data)
        return {};
    const std::string& given = *options.data;
    if (given != "-" && !given.starts_with('@')) {
        config.body = given;
        return {};
    }
    input in(given == "-" ? given : given.substr(1));
    for (auto block = in.read(); !block.empty(); block = in.read())
        config.body += block;
    return in.error();
}

// A request that is not sent again has one answer, whose end is the end.
void apply_method(const request_options& options, stream::source_config& config) {
    if (!options.method.empty())
        config.method = options.method;
    else if (options.data)
        config.method = "POST";
    config.repeat_unsafe = options.repeat;
    config.clean_end = http::is_safe(config.method) || options.repeat ? stream::clean_end::reconnect
                                                                      : stream::clean_end::done;
}

// A redirect may lead from http:// to https://.
std::string apply_tls(const request_options& options, const http::url& where, stream::source_config& config) {
    if (where.where.scheme != "https" && !options.location)
        return tls_options_for_nothing(options.tls);
    auto tls = http::make_tls_context(options.tls);
    if (!tls)
        return tls.error().message;
    config.transport.tls = std::move(*tls);
    return {};
}

std::optional<std::string> variable(const char* name) {
    const char* const value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
}

std::string apply_proxy(const request_options& options, stream::source_config& config) {
    auto& rules = config.transport.proxies;
    if (options.proxy_from_environment) {
        auto found = http::proxies_of(variable);
        if (!found)
            return found.error().message;
        rules = std::move(*found);
    }
    if (!options.proxy.empty()) {
        const auto parsed = http::parse_proxy(options.proxy);
        if (!parsed)
            return "--proxy: " + parsed.error().message;
        rules.for_http = rules.for_https = *parsed;
    }
    return {};
}

// What would be refused at each connect is refused now.
std::string check_request(const stream::source_config& config, const http::url& where) {
    http::request sample;
    sample.method = config.method;
    sample.headers = config.headers;
    const auto good = http::serialize(sample, where);
    return good ? std::string() : good.error().message;
}

} // namespace

void add_request_options(CLI::App& command, request_options& target) {
    command
        .add_option("-H,--header", target.headers,
                    "Send this header too, or in place of a default; may be given again")
        ->type_name("'K: V'")
        ->expected(1)
        ->take_all();
    command.add_option("-X,--request", target.method, "The method; else GET, or POST with --data")
        ->type_name("METHOD");
    command.add_option("-d,--data", target.data, "Send this body as it is: text, @FILE, or - for stdin")
        ->type_name("BODY");
    command.add_flag(
        "--repeat", target.repeat,
        "Send a POST (PUT, ...) again when its stream breaks or ends, though it may do everything twice");
    command.add_option("--last-event-id", target.last_event_id, "Go on after this event")->type_name("ID");
    auto* const location = command.add_flag("-L,--location", target.location, "Follow redirects");
    add_count(command, "--max-redirects", target.max_redirects, "With --location: at most N of them, not 3")
        ->needs(location);
    auto* const proxy = command
                            .add_option("-x,--proxy", target.proxy,
                                        "Go through this proxy: [http://][USER:PASSWORD@]HOST[:PORT]")
                            ->type_name("URL");
    command
        .add_flag("--proxy-from-environment", target.proxy_from_environment,
                  "Go through the proxies that http_proxy, https_proxy, all_proxy and no_proxy name")
        ->excludes(proxy);
    add_tls_options(command, target.tls);
}

std::string apply(const request_options& options, const http::url& where, stream::source_config& config) {
    config.locate = [where] {
        return stream::location{stream::location::state::up, where};
    };
    apply_method(options, config);
    config.max_redirects = options.location ? static_cast<unsigned>(options.max_redirects) : 0;
    std::string wrong = apply_headers(options, config);
    if (wrong.empty())
        wrong = check_request(config, where);
    if (wrong.empty())
        wrong = apply_tls(options, where, config);
    if (wrong.empty())
        wrong = apply_proxy(options, config);
    if (wrong.empty())
        wrong = apply_data(options, config);
    return wrong;
}

} // namespace holdfast::app
