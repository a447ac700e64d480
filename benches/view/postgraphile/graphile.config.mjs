// PostGraphile over the same database, as its manual sets it up for production.
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { makePgService } from "postgraphile/adaptors/pg";

export default {
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({
      connectionString: process.env.DATABASE_URL,
      schemas: ["public"],
      poolConfig: { max: 16 },
    }),
  ],
  grafserv: { host: "127.0.0.1", port: Number(process.env.PORT), graphqlPath: "/graphql", graphiql: false, watch: false },
  schema: { pgForbidSetofFunctionsToReturnNull: true, defaultBehavior: "+list +resource:list +queryField:resource:list" },
  grafast: { explain: false },
};
