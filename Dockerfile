# Built by `make image`: image/build.sh stages a static program, busybox and the CA certificates in the build context.
# FROM scratch: there is nothing in the image that was not put there on purpose.
FROM scratch
COPY . /
ENV PATH=/bin
# Any uid works, and so does a root file system that is read-only: the program writes only below its data directory.
USER 65532:65532
EXPOSE 5000
VOLUME ["/var/lib/registry"]
# As the images it replaces: `docker run IMAGE` serves the registry under this configuration. For both services in one
# process: `docker run --entrypoint portreeve IMAGE up --data /var/lib/registry --listen :5000 --insecure`.
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/distribution/config.yml"]
