import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Carries a request to a server, and the body of a good answer back, part by part.
protocol Transport {
    func post(_ path: String, headers: [String: String], body: Data)
        -> AsyncThrowingStream<Data, Error>
}

/// By http and https.
struct WebTransport: Transport {
    let base: URL

    func post(_ path: String, headers: [String: String], body: Data)
        -> AsyncThrowingStream<Data, Error>
    {
        var request = URLRequest(url: base.appendingPathComponent(path))
        request.httpMethod = "POST"
        request.timeoutInterval = 3600
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        return AsyncThrowingStream { parts in
            // `URLSession.bytes(for:)` would do, but is not there on Linux.
            let receiver = Receiver(parts)
            let session = URLSession(
                configuration: .ephemeral, delegate: receiver, delegateQueue: nil)
            let task = session.uploadTask(with: request, from: body)
            parts.onTermination = { _ in task.cancel() }
            task.resume()
            session.finishTasksAndInvalidate()
        }
    }
}

/// What the session calls, one call after the other, which the compiler does not know.
private final class Receiver: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private let parts: AsyncThrowingStream<Data, Error>.Continuation
    private var status = 0
    private var refusal = Data()

    init(_ parts: AsyncThrowingStream<Data, Error>.Continuation) { self.parts = parts }

    func urlSession(
        _: URLSession, dataTask _: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
    ) {
        status = (response as? HTTPURLResponse)?.statusCode ?? 0
        completionHandler(.allow)
    }

    func urlSession(_: URLSession, dataTask _: URLSessionDataTask, didReceive data: Data) {
        if status == 200 { parts.yield(data) } else { refusal.append(data) }
    }

    func urlSession(_: URLSession, task _: URLSessionTask, didCompleteWithError error: Error?) {
        if let error {
            parts.finish(throwing: DsmError.connection(error.localizedDescription))
        } else if status != 200 {
            parts.finish(throwing: DsmError.refused(status, reason(refusal)))
        } else {
            parts.finish()
        }
    }
}
